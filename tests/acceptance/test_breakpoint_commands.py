"""The commands of the user's breakpoints run when pagezap is done with the stop, not amid it."""

from __future__ import annotations

import re

import pytest

from harness import programs

SOURCE = (programs.SOURCES / "adder.c").read_text()
AFTER = "it->flag = n;"
KEEP = "zap --keep kept, +16*4096"


def line_of(text):
    return 1 + next(i for i, line in enumerate(SOURCE.splitlines()) if line.strip() == text)


@pytest.mark.parametrize("watch", ["it->key", "it->flag", None])
def test_they_see_kept_memory_and_go_on(batch, program, watch):
    """The breakpoint is where the step over a hit ends, or a run over unreported ones."""
    commands = ["tbreak begin", "run", KEEP, *([f"uffd-watch {watch}"] if watch else []),
                f"break {line_of(AFTER)}", "commands", "silent",
                'printf "at %ld: %ld, %d\\n", n, it->key, kept[4096]', "continue", "end",
                "continue"]  # fmt: skip
    if watch:
        # Each hit stops it; at those of key the breakpoint's commands go on.
        commands += ["continue"] * (5 if watch == "it->flag" else 0)
    output = batch.run(commands, program=[program], script=True)
    assert re.findall(r"^at (\d+): (\d+), (\d+)$", output.stdout, re.MULTILINE) == [
        ("1", "1", "8"), ("2", "3", "8"), ("3", "6", "8"), ("4", "10", "8"), ("5", "15", "8"),
    ], output  # fmt: skip
    assert output.stdout.count("\nwrite at ") == (5 if watch else 0), output
    assert "exited normally" in output.stdout, output
    assert not output.complaints(), output


def test_a_breakpoint_without_commands_is_shown_with_the_hit(batch, program):
    commands = ["tbreak begin", "run", "uffd-watch it->key", f"break {line_of(AFTER)}", "continue",
                "python print('COUNT', gdb.breakpoints()[-1].hit_count)", "kill"]  # fmt: skip
    output = batch.run(commands, program=[program])
    shown = output.parts[4]
    assert shown.index("\nwrite at ") < shown.index("\nBreakpoint 3, "), output
    assert "COUNT 1" in output.parts[5]


@pytest.mark.parametrize("held", ["break {line} if 0", "break {line}\nignore 3 100"])
def test_a_breakpoint_that_must_not_stop_does_not(batch, program, held):
    lines = held.format(line=line_of(AFTER)).splitlines()
    commands = ["tbreak begin", "run", "uffd-watch --condition (0) it->key", *lines, "continue"]
    output = batch.run(commands, program=[program])
    assert "exited normally" in output.parts[-1], output
    assert "Breakpoint 3, " not in output.stdout


def test_commands_that_fail(batch, program):
    commands = ["tbreak begin", "run", "uffd-watch it->key", f"break {line_of(AFTER)}", "commands",
                "print *(char *)1", "continue", "end", "continue", "kill"]  # fmt: skip
    output = batch.run(commands, program=[program], script=True)
    assert "Cannot access memory at address 0x1" in output.stderr, output
    assert "Traceback" not in output.stderr
