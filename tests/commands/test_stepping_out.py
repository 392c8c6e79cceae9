"""A step out of a function that meets accesses which are not reported ends where gdb's would."""

from __future__ import annotations

import pytest

from harness.programs import compile_c
from harness.transcripts import transcript

PROGRAM = r"""
static long area[512] __attribute__((aligned(4096)));
long *page = area;
static long other;
__attribute__((noinline)) long fill(long n)
{
    page[20] = n;
    return n + 1;
}
__attribute__((noinline)) long one(long n) { page[21] = n; return n + 1; }
__attribute__((noinline)) long two(long n) { return one(n) + 1; }
__attribute__((noinline)) long down(long n)
{
    if (n > 0)
        down(n - 1);
    page[23] = n;
    return n;
}
__attribute__((noinline)) long twice(long n)
{
    long got = fill(n);
    page[24] = got;
    return got;
}
static int run(long n)
{
    long got = 0;
    for (long i = 0; i < 3; i++) fill(i);
    got = fill(one(fill(n)));
    for (long i = 0; i < 3; i++)
        got += fill(i);
    got += one(1) + one(2) + one(3); fill(1); fill(2);
    got += twice(1) + twice(2);
    for (long i = 0; i < 3; i++) got += two(i);
    down(3);
    for (long i = 0; i < 3; i++) {
        page[25] = i;
        got++;
        page[26] = i;
    }
    other = got;
    return 0;
}
int main(void)
{
    area[0] = 1;
    run(5);
    other = 10;
    return 0;
}
"""


def line_of(text):
    return 1 + next(i for i, line in enumerate(PROGRAM.splitlines()) if text in line)


def at(*texts):
    """Commands that go to one line after another."""
    return [each for text in texts for each in (f"tbreak {line_of(text)}", "continue")]


LEAVING = f"tbreak {line_of('return n + 1;') + 1}"
NESTED, SUMMED, TWICE = "got = fill(one(", "got += one(1)", "got += twice("
NEIGHBOUR = "uffd-watch page[500]"
STACK = "uffd-watch (((unsigned long)$sp & ~0xfffUL)-4096), +4097"
COURSES = {
    "loop": [LEAVING, "continue", *["next"] * 3],
    "loop-step": [LEAVING, "continue", *["step"] * 6],
    "lines": [*at("got += fill(i)"), LEAVING, "continue", *["next"] * 5],
    **{
        f"nested-{command}": [*at(NESTED), LEAVING, "continue", command, "next", "next"]
        for command in ("next", "step", "until", "finish", "nexti", "stepi")
    },
    "nested-places": [*at(NESTED), LEAVING, "continue", "advance fill", "until one", "next"],
    **{
        f"one-line-{command}": [*at(SUMMED), "tbreak one", "continue", *[command] * 3]
        for command in ("next", "step", "until", "finish")
    },
    **{
        f"called-again-{command}": [*at(TWICE), LEAVING, "continue", *[command] * 6]
        for command in ("next", "step", "until")
    },
    "called-again-finish": [*at(TWICE), LEAVING, "continue", *["finish"] * 2, "next"],
    "through-another": [*at("got += two(i)"), "tbreak one", "continue", "next", "next"],
    "recursion": [*at("return n;"), *["next"] * 8],
    "recursion-until": [*at("return n;"), *["until"] * 4],
    "loop-until": [*at("page[25] = i;"), *["until"] * 6],
    "stop-on-the-way": [*at(NESTED), LEAVING, "continue", "break fill", "next", "next"],
}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("leaving"), PROGRAM, name="leaving")


@pytest.mark.parametrize("course", COURSES)
def test_the_same_as_without_a_watch(course, gdb, program):
    expected = transcript(gdb, program, COURSES[course])
    assert len(expected) > len(COURSES[course])
    for watch in (NEIGHBOUR, STACK):
        assert transcript(gdb, program, COURSES[course], watch) == expected, watch


def test_a_second_inferior_is_stepped(gdb, program):
    begin = ["add-inferior", "inferior 2", f"file {program}", "break fill", "run"]
    steps = ["continue", "delete", *["next"] * 4]
    places = [
        [line for line in transcript(gdb, program, commands) if line.startswith("AT")][-4:]
        for commands in ([*begin, *steps], [*begin, NEIGHBOUR, *steps])
    ]
    assert " run " in places[0][-1]
    assert places[0] == places[1]
