"""Functions that the debugger calls in the program meet no watch and find every page."""

from __future__ import annotations

import pytest

from harness.programs import compile_c

PROGRAM = r"""
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#define SIZE (64 * 4096)
struct item { long key; int flag; };
struct item *it;
unsigned char *kept;
static volatile int stop;
static void *busy(void *at)
{
    for (long i = 0; !stop; i++)
        *(volatile long *)at = i;
    return 0;
}
int foo(int x) { it->flag = x; return 2 * x; }
int reader(int i) { return kept[i]; }
__attribute__((noinline)) void add(long n) { it->key += n; }
__attribute__((noinline)) void nothing(void) { }
int main(int argc, char **argv)
{
    pthread_t t[2];
    it = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    kept = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long i = 0; i < SIZE; i++)
        kept[i] = i * 7 + i / 4096;
    it->key = *(char *)malloc(64) & 0;
    if (argc > 1)
        for (int i = 0; i < 2; i++)
            pthread_create(t + i, 0, busy, &it[10 + i]);
    nothing();
    for (long i = 1; i < 6; i++)
        add(i);
    nothing();
    stop = 1;
    for (int i = 0; argc > 1 && i < 2; i++)
        pthread_join(t[i], 0);
    for (long i = 0; i < SIZE; i++)
        if (kept[i] != (unsigned char)(i * 7 + i / 4096))
            return 1;
    return 0;
}
"""
BEGIN = ["set print thread-events off", "break nothing", "run"]
KEEP = "zap --keep kept, +64*4096"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("calling"), PROGRAM, name="calling")


def of(output, commands, command):
    """What one of the commands printed."""
    return output.parts[commands.index(command)].strip()


def test_it_stores_into_a_watched_range(batch, program):
    commands = [
        *BEGIN, "uffd-watch *it", "call foo(7)", "print it->flag", "uffd-list --json",
        "continue", "kill",
    ]  # fmt: skip
    output = batch.run(commands, program=[program])
    assert output.status == 0, output
    assert of(output, commands, "call foo(7)") == "$1 = 14"
    assert of(output, commands, "print it->flag") == "$2 = 7"
    assert "Uffd watchpoint 1: *it\nwrite at " in of(output, commands, "continue"), output
    assert not output.complaints(), output


def test_the_allocator_under_a_watched_heap(batch, program):
    commands = [
        *BEGIN, "uffd-watch [heap]", "set $p = (char *)malloc(3)", "print $p != 0",
        "print (long)memset($p, 'x', 3) == (long)$p", "print *$p", "continue", "kill",
    ]  # fmt: skip
    output = batch.run(commands, program=[program])
    assert of(output, commands, "print $p != 0") == "$1 = 1", output
    assert of(output, commands, "print *$p") == "$3 = 120 'x'"
    assert "Breakpoint 1, nothing" in of(output, commands, "continue")


def test_it_reads_what_is_kept(batch, program):
    commands = [
        *BEGIN, KEEP, "call reader(5000)", "uffd-status", "continue",
        "continue",
    ]  # fmt: skip
    output = batch.run(commands, program=[program])
    assert of(output, commands, "call reader(5000)") == f"$1 = {(5000 * 7 + 5000 // 4096) % 256}"
    assert "kept pages      64\n" in of(output, commands, "uffd-status")
    assert "exited normally" in output.stdout, output


def test_with_threads_that_are_at_an_access(batch, program):
    """Their stops are on the way when the function is called."""
    commands = [*BEGIN, "uffd-watch it->key", KEEP]
    for number in range(1, 4):
        commands += ["continue", f"print foo({number}) + reader(4096) * 0", "print it->flag"]
    commands += ["info signals SIGSTOP", "uffd-delete", "continue", "continue"]
    output = batch.run(commands, program=[program, "threads"])
    for number in range(1, 4):
        at = commands.index(f"print foo({number}) + reader(4096) * 0")
        assert "write at " in output.parts[at - 1], output
        assert output.parts[at].strip() == f"${2 * number - 1} = {2 * number}", output
        assert output.parts[at + 1].strip() == f"${2 * number} = {number}"
    assert of(output, commands, "info signals SIGSTOP").split()[-5:-2] == ["Yes"] * 3
    assert "exited normally" in output.stdout, output
    assert not output.complaints(), output


@pytest.mark.parametrize(
    "condition",
    [
        "uffd-watch --condition (foo(it->key)==2*it->key&&reader(4097)==8&&it->key==6) it->key",
        "break add if foo(n) == 6",
    ],
    ids=["ours", "gdb's"],
)
def test_in_a_condition(condition, batch, program):
    watch = [] if condition.startswith("uffd") else ["uffd-watch it->flag"]
    commands = [*BEGIN, KEEP, *watch, condition, "continue", "print n", "delete",
                "uffd-delete", "continue"]  # fmt: skip
    output = batch.run(commands, program=[program])
    assert of(output, commands, "print n") == "$1 = 3", output
    assert "exited normally" in output.stdout
    assert not output.complaints(), output


def test_a_breakpoint_in_it(batch, program):
    commands = [*BEGIN, KEEP, "uffd-watch *it", "break foo", "call foo(7)", "print reader(4096)",
                "finish", "print it->flag", "continue", "continue"]  # fmt: skip
    output = batch.run(commands, program=[program])
    assert "foo (x=7)" in of(output, commands, "call foo(7)")
    assert of(output, commands, "print reader(4096)") == "$1 = 1"
    # The rest of the function runs as all else does: its store is a hit.
    assert "Uffd watchpoint 1: *it" in of(output, commands, "finish"), output
    assert of(output, commands, "print it->flag") == "$2 = 7"
    # It ends without a word, then the program goes on.
    assert "Uffd watchpoint 1: *it" in output.parts[-1], output
