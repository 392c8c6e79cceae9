"""A command that runs over accesses which are not reported ends where it would without a watch."""

from __future__ import annotations

import pytest

from harness.programs import compile_c
from harness.transcripts import transcript

PROGRAM = r"""
static long area[512] __attribute__((aligned(4096)));
static long other;
long *page = area;
__attribute__((noinline)) long fill(long n)
{
    long i;
    for (i = 0; i < n; i++)
        page[16 + i % 8] = i;
    return n;
}
__attribute__((noinline)) long deeper(long n)
{
    long got = fill(n);
    page[20] = got;
    return got + 1;
}
static int run(long n)
{
    page[8] = 1;
    other = 1;
    page[9] = 2; page[10] = 3;
    other = fill(n);
    deeper(n);
    for (int i = 0; i < 3; i++)
        page[11] = i;
    page[1] = 77;
    other = 9;
    return 0;
}
int main(void)
{
    area[0] = 1;
    run(5);
    run(100);
    other = 10;
    return 0;
}
"""
THREADS = r"""
#include <pthread.h>
#include <unistd.h>
static long area[512] __attribute__((aligned(4096)));
static volatile long other, stop;
static void *busy(void *arg)
{
    for (long i = 0; !stop; i++) {
        area[10 + (long)arg] = i;
        usleep(300);
    }
    return 0;
}
__attribute__((noinline)) long work(long n)
{
    for (long i = 0; i < n; i++)
        area[20 + i % 4] = i;
    return n;
}
static void run(long n)
{
    other = 1;
    other = work(n);
    usleep(20000);
    area[30] = 1;
    other = work(2 * n);
    other = 3;
}
int main(void)
{
    pthread_t t[2];
    area[0] = 1;
    for (long i = 0; i < 2; i++)
        pthread_create(t + i, 0, busy, (void *)i);
    usleep(5000);
    run(20);
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], 0);
    return 0;
}
"""
NEIGHBOUR = "uffd-watch page[500]"
CONDITION = "uffd-watch --condition (page[17]==12345678) &page[8], +100"
STACK = "uffd-watch (((unsigned long)$sp & ~0xfffUL)-4096), +4097"
COURSES = {
    "next": ["next"] * 16,
    "step": ["step"] * 45,
    "stepi": ["stepi"] * 80,
    "nexti": ["nexti"] * 60,
    "finish": ["break fill", "continue", "finish", "next", "step", "finish", "break deeper",
               "continue", "finish"],
    "finish-up": ["break fill", "continue", "up", "finish", "next", "continue", "up", "finish"],
    "until": ["until"] * 14,
    "until-loop": ["break fill", "continue", *["until"] * 7, "finish"],
    "until-place": ["until 24", "until 28", "until fill", "continue", "until fill"],
    "advance": ["advance 24", "advance 26", "advance fill", "advance 24", "advance deeper"],
    "a-hundred": ["continue", *["next"] * 7],
    "mixed": ["step", "next", "next", "step", "next", "finish", "step", "step", "step", "finish",
              "next", "next", "up", "next", "next"],
}  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stepping")
    for name, text in (("plain", PROGRAM), ("threads", THREADS)):
        compile_c(folder, text, name=name)
    return folder


@pytest.fixture(scope="module")
def expected_of():
    """Transcripts without a watch, by gdb and course."""
    return {}


@pytest.mark.parametrize("watch", [NEIGHBOUR, CONDITION, STACK], ids=["near", "condition", "stack"])
@pytest.mark.parametrize("course", COURSES)
def test_the_same_as_without_a_watch(course, watch, gdb, programs, expected_of):
    program = programs / "plain"
    if (gdb.name, course) not in expected_of:
        expected_of[gdb.name, course] = transcript(gdb, program, COURSES[course])
    expected = expected_of[gdb.name, course]
    assert len(expected) > len(COURSES[course])
    assert transcript(gdb, program, COURSES[course], watch) == expected


@pytest.mark.parametrize("course", ["until-place", "advance", "until-loop"])
def test_the_same_without_addresses(course, gdb, programs):
    commands = ["set print address off", *COURSES[course]]
    expected = transcript(gdb, programs / "plain", commands)
    assert transcript(gdb, programs / "plain", commands, NEIGHBOUR) == expected


def test_a_reported_access_ends_the_command(gdb, programs):
    shown = transcript(
        gdb, programs / "plain", ["tbreak 27", "continue", "next", "next"], "uffd-watch page[1]"
    )
    report = next(i for i, line in enumerate(shown) if line.startswith("Uffd watchpoint"))
    assert shown[report + 1].startswith("write at ")
    assert any(line.endswith("run 0 1") for line in shown[report:])


def test_an_ignored_access_does_not(gdb, programs):
    commands = ["next"] * 12
    program = programs / "plain"
    expected = transcript(gdb, program, commands)
    assert transcript(gdb, program, commands, "uffd-watch --ignore 5 page[1]") == expected


def test_a_command_that_failed_leaves_nothing(gdb, programs):
    shown = transcript(gdb, programs / "plain", ["next", "advance nowhere", "continue"], NEIGHBOUR)
    assert shown[-1].startswith("AT")
    assert "run 0 1" in shown[-1]
    assert any("run (n=100)" in line for line in shown)


def test_other_threads_do_not_end_it(gdb, programs):
    commands = ["next", "next", "next", "next", "step", "next", "finish", "next", "next"]
    program = programs / "threads"
    places = [
        [line for line in transcript(gdb, program, commands, watch) if line.startswith("AT")]
        for watch in (None, "uffd-watch area[500]")
    ]
    assert places[0] == places[1]
