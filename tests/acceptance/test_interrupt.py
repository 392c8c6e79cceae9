"""Control-C is a stop like any other: amid hits that nobody is told of, and after one."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from harness import observe
from harness.programs import compile_c

PROGRAM = r"""
#include <pthread.h>
#include <sys/mman.h>
long *area;
volatile int storm = 1;
static void *busy(void *at)
{
    for (long i = 0;; i++)
        if (storm || i % 100000000 == 0)
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
    return compile_c(tmp_path_factory.mktemp("interrupt"), PROGRAM)


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


@pytest.fixture
def running(program):
    process = subprocess.Popen([program])
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("hits", ["many", "few", "none any more"])
def test_it_stops_an_attached_program(running, interactive, hits):
    gdb = interactive(pid=running)
    gdb.run(["set confirm off"])
    if hits != "many":
        gdb.command("set var storm = 0")
    if hits == "none any more":
        gdb.command("uffd-watch --temporary area[2]")
        assert "Uffd watchpoint 1" in gdb.command("continue")
    else:
        gdb.command("uffd-watch --condition 0 area[2]")
    for number in range(4):
        gdb.send("continue\n")
        gdb.read_until("Continuing.")
        time.sleep(0.2 + number * 0.013)
        gdb.interrupt()
        shown = gdb.read_until(gdb.PROMPT)
        assert "received signal SIGINT, Interrupt." in shown, shown
        for word in ("Python", "Traceback", "pagezap:", "Quit"):
            assert word not in shown, shown
    gdb.command("detach")
    gdb.quit()


def test_it_stops_one_whose_memory_is_just_taken_away(interactive, inferiors):
    running = inferiors.start("keepmem.c", str(64 << 20))
    gdb = interactive(pid=running.pid)
    gdb.command(f"zap --keep {running.control.base:#x}, +64M")
    for number in range(8):
        gdb.send("continue\n")
        gdb.read_until("Continuing.")
        # At another moment of the resume each time.
        time.sleep(number * 0.003)
        gdb.interrupt()
        shown = gdb.read_until(gdb.PROMPT)
        assert "received signal SIGINT, Interrupt." in shown, shown
    gdb.command("detach")
    gdb.quit()
    assert os.waitpid(running.pid, os.WNOHANG) == (0, 0)
    running.assert_clean()


TYPED_IN = """python
import os, signal
from {module} import {name} as old
def new(*a, **k):
    os.kill(os.getpid(), signal.SIGINT)
    return old(*a, **k)
import {module}
{module}.{name} = new
end
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [("pagezap.native.launch", "_wait_ready"), ("pagezap.commands.session.install", "_move_up")],
)
def test_typed_while_a_session_is_set_up_it_leaves_all_or_nothing(
    interactive, inferiors, tmp_path, module, name
):
    running = inferiors.start("keepmem.c", str(1 << 20))
    gdb = interactive(pid=running.pid)
    script = tmp_path / "typed.gdb"
    script.write_text(TYPED_IN.format(module=module, name=name))
    gdb.command(f"source {script}")
    watch = f"uffd-watch {running.control.base:#x}, +8"
    shown = gdb.command(watch)
    # gdb may have passed it on to the inferior, in whose step it came.
    assert "Quit" in shown or "received signal SIGINT" in shown, shown
    assert "helper " in gdb.command("uffd-status")
    assert "Uffd watchpoint" in gdb.command(watch)
    gdb.command("uffd-release")
    observe.await_no_helpers(running.pid)
    gdb.command("detach")
    gdb.quit()
    running.assert_clean()
