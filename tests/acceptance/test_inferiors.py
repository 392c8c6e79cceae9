"""Several inferiors in one gdb: each has its own session, which only its own resume touches."""

from __future__ import annotations

import re

from harness.programs import compile_c

LOOK = ["x/2xb kept", "uffd-status"]
AWAY = "kept pages      16\n"
BYTES = "0x07\t0x07\n"


def away_at_each_look(batch, program, commands, hits):
    """Run the commands: kept memory stays away with its bytes, and so many hits are told."""
    output = batch.run(commands, program=[program])
    assert len(output.parts) == len(commands), output
    pairs = list(zip(commands, output.parts, strict=True))
    assert all(text.endswith(BYTES) for command, text in pairs if command == LOOK[0]), output
    assert all(AWAY in text for command, text in pairs if command == LOOK[1]), output
    assert len([text for text in output.parts if "\nwrite at " in text]) == hits, output
    assert not [line for line in output.complaints() if "pagezap" in line], output


def test_a_resume_of_the_other_hides_nothing_here(batch, program):
    commands = [
        "tbreak begin", "run", "zap --keep kept, +16*4096",
        f"add-inferior -exec {program}", "inferior 2", "tbreak begin", "run",
        "inferior 1", *LOOK, "inferior 2", "zap --keep kept, +16*4096", "uffd-watch it->key",
        "continue", *LOOK, "inferior 1", *LOOK, "uffd-watch it->key", "continue", *LOOK,
        "inferior 2", *LOOK, "uffd-delete", "continue", "inferior 1", *LOOK, "continue", *LOOK,
        "kill inferiors 1",
    ]  # fmt: skip
    away_at_each_look(batch, program, commands, hits=3)


def test_all_run_together(batch, program):
    commands = [
        "tbreak begin", "run", "zap --keep kept, +16*4096", "uffd-watch it->key",
        f"add-inferior -exec {program}", "inferior 2", "tbreak begin", "run",
        "zap --keep kept, +16*4096", "uffd-watch it->key", "set schedule-multiple on",
    ]  # fmt: skip
    for _ in range(4):
        commands += ["continue", "inferior 1", *LOOK, "inferior 2", *LOOK]
    commands += ["kill inferiors 1 2"]
    away_at_each_look(batch, program, commands, hits=4)


def test_the_child_that_is_followed_has_ended(batch, tmp_path):
    """The parent's inferior is there still, the child's is not."""
    forker = compile_c(
        tmp_path,
        "#include <unistd.h>\n#include <sys/wait.h>\n"
        "int main(void) { if (!fork()) _exit(0); wait(0); return 0; }\n",
    )
    commands = ["set detach-on-fork off", "set follow-fork-mode child", "break main", "run",
                "zap --keep [heap]", "zap --keep $sp-4096, +1", "continue"]  # fmt: skip
    output = batch.run(commands, program=[forker])
    assert "Python" not in output.stderr, output
    assert "Traceback" not in output.stderr, output
    assert "RuntimeError" not in output.stderr, output


def test_another_than_the_selected_one_is_detached(batch, inferiors):
    running = inferiors.start("keepmem.c", str(1 << 20))
    kept = f"zap --keep {running.control.base:#x}, +1M"
    commands = ["add-inferior", "inferior 2", f"attach {running.pid}", kept, "inferior 1",
                "detach inferiors 2", "echo on\\n"]  # fmt: skip
    output = batch.run(commands)
    assert output.parts[-1:] == ["on\n"], output
    assert not [line for line in output.complaints() if "pagezap" in line], output
    running.assert_clean()
    running.control.runs_on()


WRITER = r"""
#include <sys/mman.h>
#include <unistd.h>
volatile long *count;
__attribute__((noinline)) void ready(void) { }
int main(void)
{
    count = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ready();
    for (int i = 0; i < 40; i++) {
        *count = i;
        usleep(1000);
    }
    return 0;
}
"""


def test_a_watch_goes_on_where_another_inferior_has_ended(batch, tmp_path):
    writer = compile_c(tmp_path, WRITER, name="writer")
    other = compile_c(
        tmp_path,
        "#include <unistd.h>\nint main(void) { usleep(20000); return 0; }\n",
        name="other",
    )
    script = tmp_path / "on.gdb"
    script.write_text(
        "python\nimport gdb\n"
        "while gdb.selected_inferior().pid and any(each.pid for each in gdb.inferiors()):\n"
        "    gdb.execute('continue')\n"
        "    ended = [each for each in gdb.inferiors() if each.num == 2 and not each.pid]\n"
        "    if ended and gdb.inferiors()[0].pid:\n"
        "        gdb.execute('inferior 1')\n"
        "end\n"
    )
    commands = ["break ready", "run", "uffd-watch *count", f"add-inferior -exec {other}",
                "inferior 2", "start", "set schedule-multiple on", "inferior 1",
                f"source {script}"]  # fmt: skip
    output = batch.run(commands, program=[writer])
    told = re.findall(r"^write at 0x\w+ by thread 1\.1$", output.stdout, re.MULTILINE)
    assert len(told) == 40, output
