"""The debuggers to test in."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
PAGEZAP = BIN / "pagezap"


@dataclasses.dataclass(frozen=True)
class Gdb:
    path: str
    version: str

    @property
    def name(self) -> str:
        return "gdb" + self.version.split(".")[0]


def environment(home: pathlib.Path | None = None) -> dict[str, str]:
    """An environment in which no user's settings change what a debugger prints."""
    env = dict(os.environ)
    env.update(LC_ALL="C.UTF-8", TERM="dumb", COLUMNS="200", LINES="100", DEBUGINFOD_URLS="")
    env["PATH"] = f"{BIN}:{env['PATH']}"
    env["HOME"] = str(home or "/nonexistent")
    env.pop("PYTHONPATH", None)
    return env


@functools.cache
def found() -> tuple[Gdb, ...]:
    """Return each debugger that is there, one of each version."""
    named = os.environ.get("PAGEZAP_GDBS")
    paths = named.split(":") if named else ["/usr/bin/gdb", str(BIN / "gdb")]
    gdbs: dict[str, Gdb] = {}
    for path in paths:
        if not shutil.which(path):
            continue
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, env=environment(), check=False
        )
        match = re.search(r"(\d+\.\d+)", done.stdout.splitlines()[0] if done.stdout else "")
        if done.returncode == 0 and match:
            gdbs.setdefault(match[1], Gdb(path, match[1]))
    return tuple(gdbs.values())


@functools.cache
def load_line() -> str:
    """Return the line that a user is told to put into ~/.gdbinit."""
    done = subprocess.run(
        [PAGEZAP, "init", "gdb"], capture_output=True, text=True, check=True, env=environment()
    )
    return done.stdout.strip()
