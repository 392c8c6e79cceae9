"""A system call writes while a signal is pending: it is named, and reported once."""

from __future__ import annotations

import re

import pytest

from harness.drivers import json_of
from harness.programs import compile_c

ROUNDS = 10
PROGRAM = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
char *area;
static volatile sig_atomic_t handled;
static void on_signal(int number) { handled += number > 0; }
__attribute__((noinline)) void ready(void) { }
__attribute__((noinline)) void end(void) { }
static long call(const char *kind, char *at, sigset_t *usr1, sigset_t *none)
{
    if (strcmp(kind, "rt_sigprocmask") == 0) {
        sigprocmask(SIG_BLOCK, usr1, NULL);
        raise(SIGUSR1);
        return syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, at, 8) == 0;
    }
    if (strcmp(kind, "rt_sigtimedwait") == 0) {
        sigprocmask(SIG_BLOCK, usr1, NULL);
        raise(SIGUSR1);
        return syscall(SYS_rt_sigtimedwait, usr1, at, NULL, 8) == SIGUSR1;
    }
    pid_t child = fork();
    if (!child)
        _exit(5);
    return waitpid(child, (int *)at, 0) == child && WEXITSTATUS(*(int *)at) == 5;
}
int main(int argc, char **argv)
{
    sigset_t usr1, none;
    long right = 0;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    signal(SIGUSR1, on_signal);
    if (argc > 2)
        signal(SIGCHLD, on_signal);
    area = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 1, 16 * 4096);
    ready();
    for (int i = 1; i <= 10; i++)
        right += call(argv[1], area + 4096 * i, &usr1, &none);
    end();
    printf("right %ld handled %d\n", right, (int)handled);
    return 0;
}
"""
SIGNALS = "handle SIGUSR1 SIGCHLD nostop noprint pass"
CASES = [("wait4",), ("wait4", "handler"), ("rt_sigprocmask",), ("rt_sigtimedwait",)]
each_case = pytest.mark.parametrize("case", CASES, ids=" ".join)


@pytest.fixture(scope="module")
def caller(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("pending"), PROGRAM)


@each_case
def test_each_call_is_reported_by_name(batch, caller, case):
    commands = [SIGNALS, "break ready", "run", "uffd-watch area, +16*4096"]
    commands += ["continue"] * (ROUNDS + 1)
    output = batch.run(commands, program=[caller, *case])
    told = re.findall(r"^write at 0x\w+ by thread \d+ in (\w+)\(", output.stdout, re.MULTILINE)
    assert told == [case[0]] * ROUNDS, output
    handled = 0 if case in {("wait4",), ("rt_sigtimedwait",)} else ROUNDS
    assert f"right {ROUNDS} handled {handled}" in output.stdout, output


@each_case
def test_each_call_is_recorded_once(batch, caller, case):
    commands = [SIGNALS, "break ready", "run", "uffd-watch --trace area, +16*4096", "break end",
                "continue", "uffd-trace show --json"]  # fmt: skip
    output = batch.run(commands, program=[caller, *case])
    pages = [event["address"] >> 12 for event in json_of(output.parts[-1])["events"]]
    assert len(pages) == len(set(pages)) == ROUNDS, output
