"""gdb's treatment of SIGSTOP is ours only while a watch can stop the program."""

from __future__ import annotations

import pytest

BEGIN = ["tbreak begin", "run"]
COUNT = "python print('CATCHES', sum(b.type == gdb.BP_CATCHPOINT for b in gdb.breakpoints()))"
FOREIGN = (
    "python import subprocess; "
    "subprocess.run(['sh', '-c', f'kill -STOP {gdb.selected_inferior().pid}'])"
)


def catches(batch, program, *commands):
    output = batch.run([*BEGIN, *commands, "kill"], program=[program])
    return [
        int(line.split()[1]) for line in output.stdout.splitlines() if "CATCHES" in line
    ], output


@pytest.mark.parametrize(
    "end",
    [
        ["uffd-delete"], ["uffd-disable 1"], ["uffd-release"], ["kill", "run"],
        ["uffd-delete", "zap --keep it, +8"], ["uffd-disable 1", "continue"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_catchpoint_goes(batch, program, end):
    found, output = catches(batch, program, "uffd-watch it->key", COUNT, *end, COUNT)
    assert found == [1, 0], output


def test_it_goes_after_a_temporary_watch(batch, program):
    found, output = catches(
        batch, program, "uffd-watch --temporary it->key", "continue", "stepi", COUNT
    )
    assert found == [0], output


def test_it_comes_back(batch, program):
    found, output = catches(
        batch, program, "uffd-watch it->key", "uffd-disable 1", COUNT, "uffd-enable 1", COUNT,
        "continue", "delete", "continue", COUNT,
    )  # fmt: skip
    assert found == [0, 1, 1], output
    assert output.stdout.count("\nwrite at ") == 2, output


@pytest.mark.parametrize("typed", ["save breakpoints", "save b"])
def test_it_is_not_saved_with_the_breakpoints(typed, batch, program, tmp_path):
    file = tmp_path / "saved"
    _, output = catches(
        batch, program, "uffd-watch it->key", "break add if n == 9", "continue",
        f"{typed} {file}", "python print('DIRECTLY')", "continue", COUNT, "continue",
    )  # fmt: skip
    saved = file.read_text()
    assert "break add" in saved, saved
    assert "n == 9" in saved
    assert "catch" not in saved
    assert "pagezap" not in saved
    assert output.stdout.partition("DIRECTLY")[2].count("\nwrite at ") == 2, output
    assert "CATCHES 1" in output.stdout
    assert "received signal" not in output.stdout


def test_nothing_is_saved_where_there_is_nothing(batch, program, tmp_path):
    file = tmp_path / "saved"
    _, output = catches(batch, program, "uffd-watch it->key", f"save breakpoints {file}")
    assert "Nothing to save." in output.stderr, output
    assert not file.exists()


def test_the_hook_that_the_user_has_for_it_stays(batch, program, tmp_path):
    script = tmp_path / "hook.gdb"
    script.write_text("define save hook-breakpoints\necho HOOKED\\n\nend\n")
    _, output = catches(
        batch, program, f"source {script}", "uffd-watch it->key",
        f"save breakpoints {tmp_path / 'saved'}",
    )  # fmt: skip
    assert "\nHOOKED\n" in output.stdout, output


@pytest.mark.parametrize(
    "before",
    [["uffd-watch it->key"], ["uffd-watch it->key", "uffd-disable 1"],
     ["uffd-watch it->key", "uffd-delete"],
     ["uffd-watch it->key", "uffd-delete", "zap --keep it, +8"]],
    ids=["watch", "disabled", "deleted", "kept"],
)  # fmt: skip
def test_a_foreign_stop_is_shown(batch, program, before):
    _, output = catches(batch, program, *before, FOREIGN, "continue")
    assert output.stdout.count("received signal SIGSTOP, Stopped (signal).") == 1, output


def test_a_condition_names_the_address_before_the_first_hit(batch, program):
    condition = '"n == 3 && $_uffd_addr == (long)&it->flag && $_uffd_watch == 1"'
    _, output = catches(batch, program, "break add", "continue",
                        f"uffd-watch --condition {condition} *it", "delete", "continue",
                        "print n")  # fmt: skip
    assert "Uffd watchpoint 1: *it\nwrite at " in output.stdout, output
    assert "$1 = 3" in output.stdout


def test_an_error_of_gdb_reads_as_gdbs(batch, program):
    """A command of ours that meets one where it did not expect it."""
    break_it = (
        "python import pagezap.debugger.backends.gdb as g; "
        "g.GdbDebugger.inferior = lambda self: gdb.newest_frame()"
    )
    output = batch.run([break_it, "uffd-watch 0x1000, +8"])
    assert "No registers.\n" in output.stderr, output
    assert "internal error" not in output.stderr


def test_a_condition_names_a_variable_of_the_writer(batch, program):
    _, output = catches(batch, program, "uffd-watch --condition (n==3) *it", "continue", "print n")
    assert 'No symbol "n" in current context: the condition is tried at each hit' in output.stdout
    assert "add (n=3)" in output.stdout
    assert "$1 = 3" in output.stdout, output
