"""Stepping from breakpoint to breakpoint while other threads hit a watch: each is hit once."""

from __future__ import annotations

import re

import pytest

from harness.programs import compile_c

THREADS, ROUNDS = 4, 15
WRITES = 7
PROGRAM = r"""
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
struct part { long a, b, c, d; };
char *area;
int file;
__attribute__((noinline)) void begin(void) { }
__attribute__((noinline)) void mark(long t, long i) { (void)t; (void)i; }
static void *work(void *number)
{
    long t = (long)number;
    struct part *p = (struct part *)(area + 4096 * t);
    for (long i = 0; i < 15; i++) {
        p->a = i;
        p->b = p->b + i;
        mark(t, i);
        p->a = p->a + 1;
        p->b = p->b + 1;
        p->c = p->c + 1; /* here */
        p->d = -1;
        pread(file, &p->d, 8, 0);
    }
    return 0;
}
int main(void)
{
    pthread_t t[4];
    area = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 0, 4 * 4096);
    file = open("/proc/self/exe", O_RDONLY);
    begin();
    for (long i = 0; i < 4; i++)
        pthread_create(t + i, 0, work, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], 0);
    return 0;
}
"""
ROUND = """python
import gdb
for _ in range(1000):
    try:
        for command in {commands!r}:
            gdb.execute(command)
    except gdb.error:
        break
    if not gdb.selected_inferior().pid:
        break
print("HITS", *[each.hit_count for each in gdb.breakpoints() if each.number in (2, 3)])
end
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("among"), PROGRAM)


@pytest.mark.parametrize("steps", [["next"] * 3, ["step"] * 3, ["finish", "next"]], ids=" ".join)
def test_each_breakpoint_is_hit_once(batch, parts, tmp_path, steps):
    here = 1 + next(i for i, line in enumerate(PROGRAM.splitlines()) if "/* here */" in line)
    script = tmp_path / "round.gdb"
    script.write_text(ROUND.format(commands=["continue", *steps]))
    commands = ["set print thread-events off", "break begin", "break mark", f"break {here}", "run",
                "uffd-watch area, +4*4096", f"source {script}"]  # fmt: skip
    output = batch.run(commands, program=[parts])
    told = re.search(r"^HITS (\d+) (\d+)$", output.stdout, re.MULTILINE)
    assert told, output
    assert [int(each) for each in told.groups()] == [THREADS * ROUNDS] * 2, output
    by = re.findall(r"^write at 0x\w+ by thread \d+( in pread64\()?", output.stdout, re.MULTILINE)
    assert len(by) == THREADS * ROUNDS * WRITES, output
    assert len([each for each in by if each]) == THREADS * ROUNDS, output
