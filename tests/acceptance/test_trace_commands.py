"""`set trace-commands on` shows what the user's commands run, and not what we do to that end."""

from __future__ import annotations

import re

from harness import hits, programs

PROGRAM = """\
long number[1024] __attribute__((aligned(4096)));
static void set(long value)
{
    number[1] = value;
    number[0] = value;
}
int main(void)
{
    number[2] = 1;
    set(7);
    set(8);
    return 0;
}
"""
HOOK = re.compile(r"\++python import pagezap\.debugger\.backends\.gdb_calls as g; .*")
"""What a hook of gdb's runs, which it traces before any of it can be run."""


def test_nothing_of_ours_is_traced(batch, tmp_path):
    (tmp_path / "commands").write_text(
        "break 5\ncommands\nprint number[1]\nend\ndisplay number[0]\n"
    )
    typed = ["uffd-watch number[0]", "next", "until 5", "continue", "continue", "continue",
             "uffd-delete 1", "uffd-release", "continue"]  # fmt: skip
    output = batch.run(
        ["break main", "run", f"source {tmp_path / 'commands'}", "set trace-commands on", *typed],
        program=[programs.compile_c(tmp_path, PROGRAM)],
    )
    assert [hit.new[:1] for hit in hits.shown(output.stdout)] == [b"\7", b"\10"]
    # gdb 18 traces to standard error.
    lines = (output.stdout + output.stderr).splitlines()
    traced = [line for line in lines if line.startswith("+")]
    traced = [line.lstrip("+") for line in traced if not HOOK.fullmatch(line)]
    traced = [line for line in traced if not line.startswith("echo")]
    assert [line for line in traced if line != "print number[1]"] == typed, traced
    assert traced.count("print number[1]") == 2
    assert "set (value=7)" in output.stdout
