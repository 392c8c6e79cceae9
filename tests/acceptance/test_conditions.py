"""A condition counts what gdb's own would, and never drops a hit in silence."""

from __future__ import annotations

import pytest

from harness import hits, programs

PROGRAM = """
#include <stdlib.h>
#include <unistd.h>
double half = 0.5, none;
float small = 1e-30f;
struct pair { int one, other; } pair;
enum which { NO, YES } which = YES;
_Bool truth = 1;
long number[1024] __attribute__((aligned(4096)));
static __attribute__((noinline)) void ready(void) { asm volatile(""); }
static __attribute__((noinline)) void set(long value)
{
    long gone = value * 5 + getpid();
    asm volatile("" ::: "rax", "memory");
    number[0] = value;
    asm volatile("" ::: "memory");
}
int main(void)
{
    ready();
    set(7);
    return 0;
}
"""


@pytest.fixture
def program(tmp_path):
    return programs.compile_c(tmp_path, PROGRAM, "-O2")


def watched(batch, program, condition):
    return batch.run(
        ["break ready", "run", f"uffd-watch --json --condition ({condition}) number",
         "continue", "kill"],
        program=[program],
    )  # fmt: skip


@pytest.mark.parametrize("condition", [
    "half", "small", "half > 0.25", "truth", "which", "&half", "number[0] == 7", "'a'",
])  # fmt: skip
def test_what_is_not_zero_counts(batch, program, condition):
    output = watched(batch, program, condition)
    assert output.json(2)["ok"], output
    (hit,) = hits.shown(output.stdout)
    assert hit.new[:1] == b"\7"
    assert "Error" not in output.stdout


@pytest.mark.parametrize("condition", ["none", "half > 0.75", "NO", "(char *)0"])
def test_what_is_zero_does_not(batch, program, condition):
    output = watched(batch, program, condition)
    assert output.json(2)["ok"], output
    assert hits.shown(output.stdout) == []
    assert "exited normally" in output.parts[3]


def test_what_has_no_value_there_is_shown(batch, program):
    output = watched(batch, program, "gone > 0 || gone <= 0")
    assert output.json(2)["note"].startswith('No symbol "gone"')
    assert "Error in testing condition for uffd watchpoint 1:" in output.parts[3], output
    assert "optimized out" in output.parts[3]
    assert len(hits.shown(output.stdout)) == 1


def test_a_variable_that_has_none_is_shown(batch, program):
    output = watched(batch, program, "gone")
    assert "has been optimized out" in output.parts[3], output
    assert len(hits.shown(output.stdout)) == 1


@pytest.mark.parametrize("condition", ["number", "pair", "set", "$no_such_variable"])
def test_what_is_no_scalar_is_refused(batch, program, condition):
    output = watched(batch, program, condition)
    made = output.json(2)
    assert not made["ok"], output
    assert made["error"]["kind"] == "bad-condition"
    assert "neither a number nor a pointer" in made["error"]["message"]
