"""What gdb shows at a stop of its own is shown with a hit: displays, other watchpoints."""

from __future__ import annotations

import re

import pytest

START = ["break begin", "run"]


def shown(text: str) -> list[tuple[str, str]]:
    """Return the displays in a command's output, in order."""
    return re.findall(r"^\d+: (\S.*?) = (.*)$", text, re.MULTILINE)


def test_at_a_hit(batch, program):
    done = batch.run(
        [*START, "display it->key", "uffd-watch it->key", "continue", "continue"],
        program=[program],
    )
    assert "Uffd watchpoint 1" in done.parts[4], done
    assert shown(done.parts[4]) == [("it->key", "1")], done
    assert shown(done.parts[5]) == [("it->key", "3")], done
    assert not done.complaints(), done


def test_at_a_breakpoint_met_after_a_hit_that_is_not_reported(batch, program):
    done = batch.run(
        [
            *START,
            "display it->key",
            "uffd-watch --condition 0 it->key",
            "break add if n == 3",
            "continue",
        ],
        program=[program],
    )
    assert "Breakpoint 3, add" in done.parts[5], done
    assert shown(done.parts[5]) == [("it->key", "3")], done


@pytest.mark.parametrize("silent", [True, False])
def test_as_the_breakpoint_says(batch, program, silent):
    commands = ["break add if n == 3", "commands", *(["silent"] if silent else []), "end"]
    done = batch.run(
        [*START, "display it->key", "uffd-watch --condition 0 it->key", *commands, "continue"],
        program=[program],
        script=True,
    )
    values = [value for _, value in shown(done.stdout)]
    assert values == ([] if silent else ["3"]), done


def test_at_the_prompt(interactive, program):
    gdb = interactive(program=[program])
    gdb.run(["set confirm off", *START, "display it->key", "display/i $pc", "uffd-watch it->key"])
    for value in ("1", "3", "6"):
        text = gdb.command("continue")
        assert text.index("Uffd watchpoint 1") < text.index("1: it->key")
        assert shown(text) == [("it->key", value)]
        assert re.search(r"^2: x/i \$pc\n=> 0x", text, re.MULTILINE), text
    gdb.command("undisplay 1")
    assert not shown(gdb.command("continue"))
    gdb.command("kill")
    gdb.quit()


def test_through_the_machine_interface(mi, program):
    gdb = mi(program=[program])
    for command in [*START, "display it->key", "uffd-watch it->key"]:
        gdb.command(command)
    assert shown(gdb.command("continue")) == [("it->key", "1")]


def test_after_a_step_in_whose_course_hits_came(batch, program):
    done = batch.run(
        [*START, "finish", "display it->key", "uffd-watch --condition 0 it->key", *["next"] * 4],
        program=[program],
    )
    steps = [shown(part) for part in done.parts[5:]]
    assert all(len(step) == 1 for step in steps), done
    assert steps[-1][0][1] != "0", done


def test_another_watchpoint_at_the_same_write(batch, program):
    done = batch.run(
        [*START, "uffd-watch it->key", "watch it->key", "continue", "continue"], program=[program]
    )
    for part, value in zip(done.parts[4:], (1, 3), strict=True):
        assert "Uffd watchpoint 1: it->key" in part, done
        assert f"\nHardware watchpoint 3: it->key\n\nNew value = {value}\nadd (n=" in part, done


def test_another_watchpoint_at_a_write_that_is_not_reported(batch, program):
    done = batch.run(
        [*START, "uffd-watch --condition 0 it->flag", "awatch -l it->flag", "continue"],
        program=[program],
    )
    kind = "Hardware access (read/write) watchpoint"
    text = f"\n{kind} 3: -location it->flag\n\nValue = 1\nadd (n=1) at "
    assert text in done.parts[-1], done
