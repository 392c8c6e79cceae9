"""Control-C while pagezap works, at a hit or on the way to running, is a stop like any other."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import time

import pytest

from harness.drivers import json_of

PROGRAM = r"""
#include <pthread.h>
#include <sys/mman.h>
long *area;
static void *busy(void *at)
{
    for (long i = 0;; i++)
        *(volatile long *)at = i;
    return 0;
}
__attribute__((noinline)) void begin(void) { }
int main(void)
{
    pthread_t t;
    area = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    area[0] = 1;
    begin();
    pthread_create(&t, 0, busy, area + 1);
    busy(area + 2);
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupt")
    (folder / "p.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-g", "-O0", "-pthread", "-o", folder / "p", folder / "p.c"], check=True)
    return str(folder / "p")


def test_it_is_a_stop_by_sigint(interactive, program):
    gdb = interactive(program=[program])
    gdb.run(["set confirm off", "break begin", "run", "uffd-watch --condition 0 area[2]"])
    for number in range(8):
        gdb.send("continue\n")
        # At another moment of the work on a hit each time.
        time.sleep(0.15 + number * 0.013)
        gdb.interrupt()
        shown = gdb.read_until(gdb.PROMPT)
        assert "received signal SIGINT, Interrupt." in shown, shown
        assert " in busy (" in shown or "busy (" in shown, shown
        for word in ("Python", "Traceback", "pagezap:", "Quit"):
            assert word not in shown, shown
    assert "area[2]" in gdb.command("uffd-list")
    gdb.command("kill")
    gdb.quit()


def await_asking(pid: int) -> None:
    """Wait until a process sleeps in a system call that gets or awaits an answer."""
    for _ in range(2000):
        number = pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0]
        if number in {"7", "45", "47"}:  # poll, recvfrom, recvmsg
            return
        time.sleep(0.005)
    raise AssertionError(f"{pid} waits for nothing")


def await_taken(pid: int) -> None:
    """Wait until a SIGINT of the process is taken."""
    bit = 1 << (signal.SIGINT - 1)
    for _ in range(2000):
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in text.splitlines())
        if not (int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)) & bit:
            return
        time.sleep(0.005)
    raise AssertionError("SIGINT stays pending")


def test_before_it_runs_it_is_a_stop_as_soon_as_it_does(interactive, program):
    gdb = interactive(program=[program])
    gdb.run(["set confirm off", "break begin", "run", "zap --keep area, +8"])
    helper = json_of(gdb.command("uffd-status --json"))["helper"]["pid"]
    for _ in range(8):
        # What takes the page away again waits for its answer: the program does not run yet.
        os.kill(helper, signal.SIGSTOP)
        gdb.send("continue\n")
        gdb.read_until("Continuing.")
        await_asking(gdb.pid)
        gdb.interrupt()
        await_taken(gdb.pid)
        await_asking(gdb.pid)
        os.kill(helper, signal.SIGCONT)
        shown = gdb.read_until(gdb.PROMPT)
        assert "received signal SIGINT, Interrupt." in shown, shown
        for word in ("Python", "Traceback", "pagezap:", "Quit"):
            assert word not in shown, shown
        assert json_of(gdb.command("uffd-status --json"))["helper"]["pid"] == helper
    gdb.command("kill")
    gdb.quit()
