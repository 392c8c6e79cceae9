"""Control-C amid a storm of hits that nobody is told of is a stop like any other."""

from __future__ import annotations

import subprocess
import time

import pytest

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
