"""The inferior never sees a child of ours."""

from __future__ import annotations

import pytest

from harness import observe, programs

SUBREAPER = """
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
char *block;
int subreaper;
static volatile int children;
static void handler(int number)
{
    children++;
}
static void ready(void) {}
int main(void)
{
    signal(SIGCHLD, handler);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    block = aligned_alloc(4096, 1 << 16);
    block[5] = 1;
    ready();
    block[4096] = 1;
    ready();
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0);
    ready();
    int left = waitpid(-1, 0, WNOHANG);
    return (left != -1 || errno != ECHILD) | children << 1 | !subreaper << 3 | !block[5] << 4;
}
"""
FAILING = """
from pagezap.debugger import errors, inject
usual = inject.Injector.syscall
def syscall(self, name, *arguments, **how):
    if name == "wait4":
        raise errors.InjectionError("not now")
    return usual(self, name, *arguments, **how)
inject.Injector.syscall = syscall
"""
CHILDREN = (
    "python pid = gdb.selected_inferior().pid; "
    "print('CHILDREN', open(f'/proc/{pid}/task/{pid}/children').read().split())"
)


@pytest.fixture
def program(tmp_path):
    return programs.compile_c(tmp_path, SUBREAPER)


def test_a_subreaper_does_not_inherit_the_agent(batch, program):
    output = batch.run(
        ["break ready", "run", "zap --keep block, +16K", CHILDREN, "uffd-watch block, +8K",
         "continue", "continue", "uffd-release", CHILDREN, "continue", "continue"],
        program=[program],
    )  # fmt: skip
    assert output.stdout.count("CHILDREN []") == 2, output
    assert "Uffd watchpoint 1" in output.parts[5], output
    assert "exited normally" in output.parts[-1], output


def test_it_is_a_subreaper_again_where_the_setting_up_fails(batch, program):
    """The wait for the intermediate task is made to fail once."""
    script = batch.directory / "failing.py"
    script.write_text(FAILING)
    output = batch.run(
        ["break ready", "run", f"source {script}", "zap --keep block, +16K",
         "continue", "continue", "print subreaper", "kill"],
        program=[program],
    )  # fmt: skip
    assert "not now" in output.stderr, output
    assert "= 1" in output.parts[6], output
    assert observe.agents_of(program) == []
