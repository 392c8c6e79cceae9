"""A watch that is deleted leaves no stop signal behind, whoever is at an access then."""

from __future__ import annotations

import subprocess
import time

import pytest

from harness import observe
from harness.programs import compile_c

PROGRAM = r"""
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>
char *area;
static int pipes[2];
static void tick(int number)
{
    (void)number;
}
static void *store(void *at)
{
    for (long i = 0;; i++)
        *(volatile long *)at = i;
    return 0;
}
static void *receive(void *at)
{
    for (;;)
        if (write(pipes[1], "12345678", 8) != 8 || read(pipes[0], at, 8) != 8)
            abort();
    return 0;
}
int main(int argc, char **argv)
{
    struct itimerval often = {{0, 3000}, {0, 3000}};
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    pthread_t t;
    (void)argv;
    if (argc > 1) {
        sigaction(SIGALRM, &action, 0);
        setitimer(ITIMER_REAL, &often, 0);
    }
    area = mmap(0, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 1, 8 * 4096);
    if (pipe(pipes))
        return 1;
    for (int i = 1; i < 4; i++)
        pthread_create(&t, 0, store, area + i * 4096 + 64);
    pthread_create(&t, 0, receive, area + 5 * 4096);
    store(area);
}
"""


@pytest.fixture(scope="module")
def writers(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("delete"), PROGRAM)


@pytest.fixture(params=["quiet", "with timers"])
def running(request, writers):
    process = subprocess.Popen([writers, *["timers"] * (request.param != "quiet")])
    yield process.pid
    process.kill()
    process.wait()


def runs(pid):
    """Whether all threads get on: none was left stopped."""
    return all(observe.status(pid, tid)["State"][0] not in "Tt" for tid in observe.tids(pid))


@pytest.mark.parametrize(
    "deleted",
    [["uffd-delete"], ["uffd-delete 1", "uffd-delete 2"], ["uffd-delete 2", "uffd-disable 1"],
     ["uffd-delete 1", "uffd-release"], ["uffd-delete 1"]],
    ids=", ".join,
)  # fmt: skip
def test_no_signal_is_left(running, interactive, deleted):
    gdb = interactive(pid=running)
    for _ in range(3):
        gdb.command("uffd-watch area, +8*4096")
        gdb.command("uffd-watch area[4096]@8192")
        for _ in range(2):
            assert "write at " in gdb.command("continue")
        for command in deleted:
            gdb.command(command)
        if deleted == ["uffd-delete 1"]:
            break
        gdb.send("continue\n")
        gdb.read_until("Continuing.")
        time.sleep(0.1)
        gdb.interrupt()
        shown = gdb.read_until(gdb.PROMPT)
        assert "received signal SIGINT" in shown, shown
        assert "SIGSTOP" not in shown
        gdb.command("uffd-release")
    assert "SIGSTOP" not in gdb.command("detach")
    gdb.quit()
    time.sleep(0.1)
    assert runs(running)


@pytest.mark.parametrize("way", ["detach", "quit"])
def test_none_is_left_where_it_is_let_go(running, interactive, way):
    gdb = interactive(pid=running)
    gdb.run(["set confirm off", "uffd-watch --condition 0 area, +8*4096"])
    gdb.send("continue\n")
    gdb.read_until("Continuing.")
    time.sleep(0.2)
    gdb.interrupt()
    assert "received signal SIGINT" in gdb.read_until(gdb.PROMPT)
    if way == "detach":
        assert "SIGSTOP" not in gdb.command("detach")
    gdb.quit()
    if way == "quit":
        observe.await_no_helpers(running)
    time.sleep(0.1)
    assert runs(running)
