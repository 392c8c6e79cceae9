"""Calls of several threads have written at one stop: what is done there loses none of them."""

from __future__ import annotations

import re

import pytest

from harness.programs import compile_c

THREADS, ROUNDS = 4, 10
PROGRAM = r"""
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
char *area;
static int file;
static pthread_barrier_t together;
__attribute__((noinline)) void ready(void) { }
__attribute__((noinline)) int twice(int n) { return 2 * n; }
static void *work(void *number)
{
    char *page = area + 4096 * (long)number;
    for (int i = 0; i < 10; i++) {
        pthread_barrier_wait(&together);
        pread(file, page, 8, 8 * i);
    }
    return 0;
}
int main(void)
{
    pthread_t t[4];
    file = open("/proc/self/exe", O_RDONLY);
    area = mmap(0, 40 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 1, 40 * 4096);
    pthread_barrier_init(&together, 0, 4);
    ready();
    for (long i = 0; i < 4; i++)
        pthread_create(t + i, 0, work, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], 0);
    return 0;
}
"""
LOOP = """python
import gdb
while gdb.selected_inferior().pid:
    for command in {commands!r}:
        try:
            gdb.execute(command)
        except gdb.error as error:
            print("failed:", error)
            break
end
"""
AT_EACH_STOP = {
    "keep": ["zap --keep area, +40*4096"],
    "keep and refault": ["zap --keep area, +40*4096", "refault area, +40*4096"],
    "call": ["set scheduler-locking on", "print twice(21)", "set scheduler-locking replay"],
}


@pytest.fixture(scope="module")
def callers(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("calls"), PROGRAM)


@pytest.mark.parametrize("what", AT_EACH_STOP)
def test_each_write_is_reported(batch, callers, tmp_path, what):
    script = tmp_path / "loop.gdb"
    script.write_text(LOOP.format(commands=["continue", *AT_EACH_STOP[what]]))
    commands = ["set print thread-events off", "break ready", "run", "delete",
                "uffd-watch area, +4*4096", f"source {script}"]  # fmt: skip
    output = batch.run(commands, program=[callers])
    told = re.findall(r"^write at 0x\w+ by thread \d+ in pread64", output.stdout, re.MULTILINE)
    assert len(told) == THREADS * ROUNDS, output
    assert "cannot be read" not in output.stdout + output.stderr, output


DROPS = r"""
#include <string.h>
#include <sys/mman.h>
char *area;
__attribute__((noinline)) void ready(void) { }
int main(void)
{
    area = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 1, 4 * 4096);
    ready();
    for (int i = 1; i <= 20; i++) {
        madvise(area + 4096, 4096, MADV_DONTNEED);
        area[4096] = (char)i;
        area[4097] = (char)i;
    }
    return area[4096] != 20;
}
"""


def test_writes_to_a_page_that_the_program_drops(batch, tmp_path):
    dropper = compile_c(tmp_path, DROPS)
    commands = ["break ready", "run", "uffd-watch area+4096, +1", *["continue"] * 21]
    output = batch.run(commands, program=[dropper])
    values = re.findall(r"^New: (\w\w)$", output.stdout, re.MULTILINE)
    assert [int(each, 16) for each in values] == list(range(1, 21)), output
    assert "exited normally" in output.stdout, output
