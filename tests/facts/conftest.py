"""Builds and runs the programs of this folder and reads what they print."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from harness import gdbs

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = pathlib.Path(__file__).parent
CFLAGS = ["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]


class Facts:
    """The key=value lines of one program; a key is `topic.detail`."""

    def __init__(self, text: str) -> None:
        pairs = [line.partition("=")[::2] for line in text.splitlines()]
        self.lacking = {key[1:]: value for key, value in pairs if key.startswith("!")}
        self.found = {key: value for key, value in pairs if not key.startswith("!")}

    def of(self, topic: str) -> dict[str, str]:
        """Return what was found of a topic; skips the test where the kernel lacks it."""
        for name in ("*", topic):
            if name in self.lacking:
                pytest.skip(self.lacking[name])
        prefix = f"{topic}."
        found = {
            key.removeprefix(prefix): value
            for key, value in self.found.items()
            if key.startswith(prefix)
        }
        assert found, f"the program told nothing of {topic}"
        return found


def session_members(session: int) -> list[int]:
    """Return the processes of a session that still run."""
    members = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            fields = pathlib.Path(f"/proc/{int(entry)}/stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                members.append(int(entry))
    return members


def end_session(session: int) -> list[int]:
    """Wait for a session to be empty; end and return what stays in it."""
    deadline = time.monotonic() + 10
    while (left := session_members(session)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


@pytest.fixture(scope="session")
def build(tmp_path_factory) -> Callable[[str], pathlib.Path]:
    """Compile a program of this folder, once."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc on this machine")
    if os.uname().machine != "x86_64":
        pytest.skip("the programs are written for x86-64")
    folder = tmp_path_factory.mktemp("facts")

    def compiled(name: str) -> pathlib.Path:
        binary = folder / name
        if not binary.exists():
            command = ["gcc", *CFLAGS, "-o", str(binary), str(HERE / f"{name}.c")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return binary

    return compiled


@pytest.fixture(scope="module")
def facts(request, build, tmp_path_factory) -> Facts:
    """Run the program that the module names and return what it found."""
    name = request.module.PROGRAM
    process = subprocess.Popen(
        [build(name)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path_factory.mktemp(name),
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
        process.wait()
        left = end_session(process.pid)
    assert process.returncode == 0, f"{name} ended with {process.returncode}: {err}\n{out}"
    assert not left, f"{name} left processes behind: {left}"
    return Facts(out)


class Stage:
    """An inferior and the debuggers that look at it."""

    def __init__(self, gdb, build, directory) -> None:
        self.gdb = gdb
        self.build = build
        self.directory = directory
        self.process = None
        self.env = gdbs.environment(directory) | {
            "FACTS_OUT": str(directory / "facts"),
            "FACTS_SEND": str(build("send")),
        }

    def play(self, part):
        self.process = subprocess.Popen(
            [self.build("stage"), part],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline().strip()
        if line != "ready" and self.process.wait(20) == 0:
            pytest.skip(line)
        assert line == "ready"

    def await_blocked(self, numbers):
        path = f"/proc/{self.process.pid}/syscall"
        deadline = time.monotonic() + 20
        while pathlib.Path(path).read_text().split()[0] not in numbers:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def run(self, script, *, attach=True):
        """Run a script in the debugger; returns what it noted, its output and status."""
        file = self.directory / "script.py"
        file.write_text((HERE / "gdb_common.py").read_text() + textwrap.dedent(script))
        command = [self.gdb.path, "-nx", "-q", "-batch", "-iex", "set width 0"]
        if attach:
            command += ["-p", str(self.process.pid)]
        done = subprocess.run(
            [*command, "-x", str(file)],
            capture_output=True,
            text=True,
            env=self.env,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        out = self.directory / "facts"
        noted = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        return noted, done

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process.stdin.close()
            self.process.stdout.close()


@pytest.fixture
def stage(gdb, build, tmp_path):
    made = Stage(gdb, build, tmp_path)
    yield made
    made.close()
