"""A thread's own data share their page with what the kernel writes for it."""

from __future__ import annotations

import re

import pytest

from harness.programs import compile_c

WRITES = 30
PROGRAM = r"""
#include <pthread.h>
#include <unistd.h>
static int ends[2];
__thread long own;
long *where;
__attribute__((noinline)) void ready(void) { }
static void *work(void *unused)
{
    where = &own;
    ready();
    for (int i = 1; i <= 30; i++) {
        own = i;
        for (volatile int n = 0; n < 100000; n++)
            ;
    }
    write(ends[1], "", 1);
    return unused;
}
int main(void)
{
    pthread_t thread;
    char byte;
    pipe(ends);
    pthread_create(&thread, NULL, work, NULL);
    /* pthread_join would wait in a futex on the thread's page. */
    read(ends[0], &byte, 1);
    pthread_join(thread, NULL);
    return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("own"), PROGRAM)


def test_all_is_reported_where_the_kernel_writes_nothing(batch, program):
    commands = ["set environment GLIBC_TUNABLES glibc.pthread.rseq=0", "break ready", "run",
                "uffd-watch *where", *["continue"] * (WRITES + 1)]  # fmt: skip
    output = batch.run(commands, program=[program])
    values = re.findall(r"^New: (\w\w) 00", output.stdout, re.MULTILINE)
    assert [int(each, 16) for each in values] == list(range(1, WRITES + 1)), output


def test_the_user_is_told(batch, program):
    output = batch.run(["break ready", "run", "uffd-watch *where"], program=[program])
    assert "Note: a thread's own data lie on a page of it" in output.parts[-1], output
