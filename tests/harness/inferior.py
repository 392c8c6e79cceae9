"""Starts inferiors and ends them again."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from harness import observe, programs
from harness.control import Control

if TYPE_CHECKING:
    import pathlib

    from harness.observe import Snapshot


class Running:
    """A process that runs one of the programs of tests/inferiors."""

    def __init__(self, process: subprocess.Popen[str], control: Control | None) -> None:
        self.process = process
        self.pid = process.pid
        self.control_file = control
        self.program = ""
        self.before: Snapshot | None = None

    @property
    def control(self) -> Control:
        assert self.control_file is not None
        return self.control_file

    def line(self) -> str:
        """A line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        """A line for its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def assert_clean(self, timeout: float = 10) -> None:
        """Assert that it is as it was when it started, without us."""
        assert self.before is not None
        observe.await_clean(self.pid, self.before, timeout)

    def finish(self, timeout: float = 20) -> int:
        """Let it end by itself; returns its status."""
        self.control.set_word("quit", 1)
        return self.process.wait(timeout)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            return
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


class Inferiors:
    """Makes inferiors for one test."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.running: list[Running] = []
        self.pids: list[int] = []
        self._count = 0

    def control(self) -> Control:
        self._count += 1
        return Control(self.directory / f"control{self._count}")

    def program(self, source: str, variant: str = "pie") -> pathlib.Path:
        """A binary of this test's own, by whose path what it runs is told from all else."""
        built = programs.build(source, variant)
        own = self.directory / built.name
        if not own.exists():
            shutil.copy(built, own)
        return own

    def start(self, source: str, *args: str, variant: str = "pie") -> Running:
        """Start a program that uses a control file, and wait until it is ready."""
        program = self.program(source, variant)
        control = self.control()
        process = subprocess.Popen(
            [str(program), str(control.path), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        running = self.track(process, control)
        deadline = time.monotonic() + 60
        while not control.word("ready"):
            status = process.poll()
            assert status is None, f"{source} ended with status {status}"
            assert time.monotonic() < deadline, f"{source} does not get ready"
            time.sleep(0.002)
        running.program = os.readlink(f"/proc/{process.pid}/exe")
        time.sleep(0.01)
        running.before = observe.snapshot(process.pid)
        return running

    def start_talking(self, source: str, variant: str) -> tuple[Running, int, int]:
        """Start a program that talks on its streams; returns its address and length too."""
        program = self.program(source, variant)
        process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running = self.track(process, None)
        word, address, length = running.line().split()
        assert word == "ready"
        running.program = os.readlink(f"/proc/{process.pid}/exe")
        running.before = observe.snapshot(process.pid)
        return running, int(address, 16), int(length)

    def start_bare(self, source: str, variant: str) -> Running:
        """Start a program that tells nothing."""
        process = subprocess.Popen([str(self.program(source, variant))], text=True)
        running = self.track(process, None)
        time.sleep(0.1)
        return running

    def track(self, process: subprocess.Popen[str], control: Control | None) -> Running:
        running = Running(process, control)
        self.running.append(running)
        self.pids.append(process.pid)
        return running

    def close(self) -> None:
        for running in self.running:
            running.kill()
