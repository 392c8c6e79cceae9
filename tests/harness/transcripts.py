"""What gdb shows while commands are given one by one, to compare with and without a watch."""

from __future__ import annotations

import re
import subprocess

from harness import gdbs

WHERE = (
    "python f = gdb.newest_frame(); "
    "print('AT', hex(f.pc()), f.name(), gdb.selected_frame().level(), gdb.selected_thread().num)"
)


def transcript(gdb, program, commands, watch=None):
    """What gdb shows from the first breakpoint on, without what numbers or processes change."""
    steps = [gdbs.load_line(), "break run", "run"]
    steps += [watch] if watch else []
    steps.append("echo <\\n")
    for command in commands:
        steps += [command, WHERE]
    done = subprocess.run(
        [gdb.path, "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off",
         *(word for each in (*steps, "kill") for word in ("-ex", each)), program],
        capture_output=True, text=True, timeout=100, check=False, env=gdbs.environment(),
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert not watch or "Uffd watchpoint 1: " in done.stdout, done.stdout + done.stderr
    text = re.sub(r"reakpoint \d+", "reakpoint N", done.stdout.partition("<\n")[2])
    assert "pagezap" not in done.stderr, done.stderr
    return [line for line in text.splitlines() if "process" not in line and "Kill the" not in line]
