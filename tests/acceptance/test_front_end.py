"""What a front end and `pagezap exec` are shown is our text and nothing of gdb's own records."""

from __future__ import annotations

import json
import subprocess

from harness import gdbs


def test_the_first_command_that_steps_is_answered(mi, program):
    gdb = mi(program=[program])
    gdb.run(["break begin", "run"])
    # Waits for the result record of this token, as a front end does.
    answer = gdb.mi('-interpreter-exec console "zap --keep kept, +4096"')
    assert (answer["type"], answer["message"]) == ("result", "running")
    assert gdb.mi("-data-evaluate-expression 2+3")["payload"] == {"value": "5"}


def test_the_first_watch_and_its_hits(mi, program):
    gdb = mi(program=[program])
    gdb.run(["break begin", "run"])
    printed = gdb.command("uffd-watch --json it->key")
    lines = [line for line in printed.splitlines() if '"command"' in line]
    assert json.loads(lines[0])["ok"], printed
    assert "Catchpoint" not in printed
    for number in (1, 2):
        shown = gdb.command("continue")
        last = shown.rstrip("\n").splitlines()[-1]
        assert last.startswith(f"add (n={number}) at "), shown
        assert "cmd-param-changed" not in shown
    gdb.command("kill")
    gdb.quit()


def test_the_output_of_exec(gdb, program, tmp_path):
    commands = ["break begin", "run", "uffd-watch it->key", "continue"]
    done = subprocess.run(
        [gdbs.PAGEZAP, "exec", "--debugger-path", gdb.path, "--json",
         *(word for each in commands for word in ("-c", each)), "--", program],
        capture_output=True, text=True, timeout=100, check=False, env=gdbs.environment(tmp_path),
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    bodies = [json.loads(line) for line in done.stdout.splitlines()]
    assert bodies[2]["ok"], done
    output = bodies[3]["output"]
    assert "=" not in output.replace("(n=1)", ""), output
    assert output.rstrip("\n").splitlines()[-1].startswith("add (n=1) at "), output
    assert bodies[3]["stop"]["reason"] == "uffd-watch"
