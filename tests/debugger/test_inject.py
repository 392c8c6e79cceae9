"""System calls injected into real programs by real debuggers."""

from __future__ import annotations

import os

import pytest

BLOCKED = r"""
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    long value = -2;
    char byte = 0;
    struct timespec wait = {2, 0};
    int word = 0;
    setvbuf(stdout, 0, _IONBF, 0);
    puts("ready");
    errno = 0;
    if (!strcmp(argv[1], "nanosleep"))
        value = nanosleep(&wait, 0);
    if (!strcmp(argv[1], "read"))
        value = read(0, &byte, 1);
    if (!strcmp(argv[1], "poll"))
        value = poll(0, 0, 2000);
    if (!strcmp(argv[1], "futex"))
        value = syscall(SYS_futex, &word, FUTEX_WAIT, 0, &wait, 0, 0);
    printf("%ld %d %d\n", value, errno, byte);
    return 0;
}
"""
EXPECTED = {
    "nanosleep": "0 0 0",
    "read": "1 0 120",
    "poll": "0 0 0",
    "futex": "-1 110 0",
}
MINIMAL = r"""
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
volatile int signals, sender, rounds;
static void handler(int number, siginfo_t *info, void *context)
{
    signals++;
    sender = info->si_pid;
}
static void *spin(void *unused)
{
    for (;;)
        rounds++;
}
void marker(void) {}
int main(int argc, char **argv)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, 0);
    sigaction(SIGUSR1, &action, 0);
    for (int i = 1; i < argc; i++) {
        pthread_t thread;
        pthread_create(&thread, 0, spin, 0);
    }
    marker();
    kill(getpid(), SIGUSR1);
    marker();
    return signals;
}
"""
CALLS = """
pid = gdb.selected_inferior().pid
before = d.read_registers(("rip", "rsp", "rax", "rbx", "orig_rax", "eflags"))
level = d.selected_frame_level()
try:
    injector.syscall("close", 999)
    failed = None
except errors.InjectionError as error:
    failed = error.errno
with injector.session() as call:
    area = call.syscall("mmap", 0, 8192, 3, 0x22, -1, 0)
    mapped = any(m.start <= area < m.end for m in procfs.mappings(pid))
    call.syscall("munmap", area, 8192)
out(same_pid=injector.syscall("getpid") == pid, failed=failed, mapped=mapped,
    raw=injector.syscall("close", 999, raw=True),
    level=d.selected_frame_level() == level,
    gone=not any(m.start <= area < m.end for m in procfs.mappings(pid)),
    same=before == d.read_registers(tuple(before)))
"""


def assert_calls(found):
    assert found == {
        "same_pid": True, "failed": 9, "mapped": True, "raw": -9, "gone": True, "same": True,
        "level": True,
    }  # fmt: skip


@pytest.mark.parametrize("call", EXPECTED)
def test_a_blocked_call_goes_on(call, compile_c, start, run_gdb):
    process = start(compile_c(BLOCKED), call)
    found, text = run_gdb("\n" + CALLS, "detach", pid=process.pid)
    assert_calls(found)
    answer, _ = process.communicate("x", timeout=20)
    assert answer.strip() == EXPECTED[call], text


@pytest.mark.parametrize("flags", [["-static"], ["-no-pie"], ["-pie", "-fPIE"], ["-s"]])
def test_at_the_entry(flags, compile_c, run_gdb):
    found, _ = run_gdb("starti", "\n" + CALLS, "kill", program=compile_c(MINIMAL, *flags))
    assert_calls(found)


def test_in_an_outer_frame(compile_c, run_gdb):
    program = compile_c(MINIMAL)
    found, _ = run_gdb("break marker", "run", "up", "\n" + CALLS, "kill", program=program)
    assert_calls(found)


def test_among_64_threads(compile_c, run_gdb):
    program = compile_c(MINIMAL)
    others = """
before = gdb.parse_and_eval("rounds")
before = int(before)
for _ in range(5):
    injector.syscall("getppid")
out(held=before == int(gdb.parse_and_eval("rounds")), threads=len(d.threads()),
    tasks=len(procfs.tasks(gdb.selected_inferior().pid)),
    locking=gdb.parameter("scheduler-locking"))
"""
    found, _ = run_gdb(
        "set args " + "x " * 64,
        "break marker",
        "run",
        "\n" + others,
        "\n" + CALLS,
        "kill",
        program=program,
    )
    assert found.pop("held")
    assert found.pop("threads") == found.pop("tasks") == 65
    assert found.pop("locking") == "replay"
    assert_calls(found)


def test_the_breakpoint_is_not_hit_again(compile_c, run_gdb):
    found, text = run_gdb(
        "handle SIGUSR1 nostop noprint",
        "break marker",
        "run",
        "\n" + CALLS,
        "continue",
        '\nout(hits=gdb.breakpoints()[0].hit_count, signals=int(gdb.parse_and_eval("signals")))',
        "kill",
        program=compile_c(MINIMAL),
    )
    assert (found.pop("hits"), found.pop("signals")) == (2, 1), text
    assert_calls(found)


def test_the_signal_it_stands_at_is_kept(compile_c, run_gdb):
    found, _ = run_gdb(
        "run",
        "\n" + CALLS,
        "break marker",
        "continue",
        '\nout(signals=int(gdb.parse_and_eval("signals")),'
        'sender=int(gdb.parse_and_eval("sender")) == gdb.selected_inferior().pid)',
        "kill",
        program=compile_c(MINIMAL),
    )
    assert found.pop("signals") == 1
    assert found.pop("sender")
    assert_calls(found)


def test_a_signal_that_comes_first_is_not_lost(compile_c, run_gdb):
    send = """
import signal
os.kill(gdb.selected_inferior().pid, signal.SIGUSR1)
"""
    found, _ = run_gdb(
        "break marker",
        "run",
        "\n" + send,
        "\n" + CALLS,
        "delete",
        "break exit",
        "continue",
        '\nout(signals=int(gdb.parse_and_eval("signals")))',
        "continue",
        '\nout(signals=int(gdb.parse_and_eval("signals")))',
        "kill",
        program=compile_c(MINIMAL),
    )
    # Once from here, once from the program itself; the second of them stops gdb.
    assert found.pop("signals") >= 1
    assert_calls(found)


def test_seccomp_is_refused(compile_c, start, run_gdb):
    program = compile_c(r"""
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(void)
{
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog filter = {1, all};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, 2, &filter);
    puts("ready");
    fflush(stdout);
    pause();
}
""")
    refused = """
before = d.read_registers(("rip", "rax", "orig_rax"))
try:
    injector.syscall("getpid")
except errors.UnsupportedError as error:
    out(kind=error.kind, same=before == d.read_registers(tuple(before)))
"""
    found, _ = run_gdb("\n" + refused, pid=start(program).pid)
    assert found == {"kind": "seccomp", "same": True}


def test_nothing_to_inject_into(run_gdb):
    found, _ = run_gdb(
        "\ntry:\n    injector.syscall('getpid')\n"
        "except errors.NoInferiorError as error:\n    out(kind=error.kind)\n"
    )
    assert found == {"kind": "no-inferior"}


def test_a_core_file(compile_c, run_gdb, tmp_path):
    core = tmp_path / "core"
    program = compile_c(MINIMAL)
    run_gdb("starti", f"generate-core-file {core}", "kill", program=program)
    assert os.path.exists(core)
    found, _ = run_gdb(
        f"core-file {core}",
        "\ntry:\n    d.inferior()\n"
        "except errors.NoInferiorError as error:\n    out(kind=error.kind)",
    )
    assert found == {"kind": "core"}
