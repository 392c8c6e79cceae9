"""A gdb driven over GDB/MI: one command at a time, each waited for to its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pagezap.debugger.errors import PagezapError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SETTINGS = (
    "set confirm off",
    "set pagination off",
    "set width 0",
    "set height 0",
    "set style enabled off",
    "set debuginfod enabled off",
)
PYTHON_VARIABLES = ("PYTHONHOME", "PYTHONPATH")
"""What PyPI's gdb exports to what it starts; a program is given what we were given."""


class DebuggerGoneError(PagezapError):
    """The debugger ended in the course of a command, asked to or not."""

    kind = "debugger-gone"

    def __init__(self, status: int, reply: Reply) -> None:
        """Take the exit status, negative for a signal, and what the command did until then."""
        super().__init__("gdb has ended unexpectedly", hint=f"Its status is {status}")
        self.status = status
        self.reply = reply


@dataclass
class Reply:
    """What one command did."""

    ok: bool = True
    message: str = ""
    """The debugger's error, where it failed."""
    output: str = ""
    """What it printed on the console."""
    log: str = ""
    """What it logged; gdb shows its errors there as well."""
    stop: Mapping[str, object] | None = None
    """The last ``*stopped`` record, where the inferior ran and stopped."""


def find_gdb(path: str | None) -> str:
    """Return the gdb to use: the one named, this environment's own, or PATH's."""
    if path is not None:
        found = shutil.which(path)
        if found is None:
            raise PagezapError(
                f"No executable {path}", hint="Check --debugger-path", kind="no-debugger"
            )
        return found
    beside = Path(sys.executable).parent / "gdb"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("gdb")
    if found is None:
        raise PagezapError(
            "No gdb found", hint="Install gdb or give --debugger-path", kind="no-debugger"
        )
    return found


def quote(text: str) -> str:
    """Return text as an MI string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Gdb:
    """One gdb process, spoken to over MI."""

    def __init__(self, path: str, program: Sequence[str], console: Callable[[str], None]) -> None:
        """Start gdb on ``program`` (none where it is empty), ``console`` takes its output."""
        self._console = console
        self._token = 0
        self._command = 0
        """Token of the console command under way."""
        self._answer = 0
        """Token of the last answer."""
        self._running = False
        self._quiet = False
        self._reply = Reply()
        # The program's input is ours, its output our standard error: gdb's own are MI's.
        self._program_fds = [os.dup(0), os.dup(2)] if program else []
        arguments = [path, "--nx", "--quiet", "--interpreter=mi4"]
        if program:
            arguments += ["--args", *program]
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=self._program_fds,
        )
        for setting in SETTINGS:
            self.execute(setting, quiet=True)
        if program:
            self._prepare_program()

    def _prepare_program(self) -> None:
        given, shown = self._program_fds
        wrapper = f'/bin/sh -c \'exec "$0" "$@" <&{given} >&{shown} {given}<&- {shown}>&-\''
        self.execute(f"set exec-wrapper {wrapper}", quiet=True)
        for name in PYTHON_VARIABLES:
            value = os.environ.get(name)
            setting = (
                f"unset environment {name}" if value is None else f"set environment {name} {value}"
            )
            self.execute(setting, quiet=True)

    @property
    def running(self) -> bool:
        """Whether the inferior runs."""
        return self._running

    def execute(self, command: str, *, quiet: bool = False, wait: bool = True) -> Reply:
        """Run one console command and wait until it and what it set going have come to rest.

        Raises DebuggerGoneError.
        """
        self._quiet = quiet
        self._reply = reply = Reply()
        self._command = self._send(f"-interpreter-exec console {quote(command)}")
        self._read_until(lambda: self._answer == self._command)
        if wait:
            self.settle()
        self._quiet = False
        return reply

    def settle(self) -> None:
        """Wait until the inferior is at rest, and with it what gdb runs at a stop."""
        while True:
            self._read_until(lambda: not self._running)
            probe = self._send("-gdb-show confirm")
            self._read_until(lambda: self._answer == probe)  # noqa: B023 - called at once
            if not self._running:
                return

    def _send(self, line: str) -> int:
        """Send one command of the machine interface; return the token of its answer."""
        self._token += 1
        stream = self._process.stdin
        try:
            if stream is not None:
                stream.write(f"{self._token}{line}\n".encode())
                stream.flush()
        except BrokenPipeError:
            raise self._gone() from None
        return self._token

    def _gone(self) -> DebuggerGoneError:
        return DebuggerGoneError(self._process.wait(), self._reply)

    def _read_until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._read()

    def _read(self) -> None:
        """Read one line from gdb and account for it."""
        from pygdbmi import gdbmiparser

        stream = self._process.stdout
        line = stream.readline() if stream is not None else b""
        if not line:
            raise self._gone()
        text = line.decode(errors="replace").rstrip("\r\n")
        if not text:
            return
        if gdbmiparser.response_is_finished(text):
            return
        record = gdbmiparser.parse_response(text)
        kind, payload = record["type"], record["payload"]
        if kind in {"console", "target"}:
            self._shown(payload or "")
        elif kind == "log":
            self._reply.log += payload or ""
            if not self._quiet:
                sys.stderr.write(payload or "")
        elif kind == "notify":
            self._notified(record["message"], payload or {})
        elif kind == "result":
            self._answered(record)
        elif kind == "output" and not self._quiet:
            sys.stderr.write(text + "\n")

    def _shown(self, text: str) -> None:
        self._reply.output += text
        if not self._quiet:
            self._console(text)

    def _notified(self, message: str, payload: Mapping[str, object]) -> None:
        if message == "running":
            self._running = True
        elif message == "stopped":
            # Without a reason it says only that what was told before has come to its end.
            if self._running or "reason" in payload or self._reply.stop is None:
                self._reply.stop = payload
            self._running = False

    def _answered(self, record: Mapping[str, object]) -> None:
        token, payload = record["token"], record["payload"]
        self._answer = token if isinstance(token, int) else 0
        if record["message"] == "error" and token == self._command:
            self._reply.ok = False
            if isinstance(payload, dict):
                self._reply.message = str(payload.get("msg", ""))

    def interrupt(self) -> None:
        """Stop what runs, as Ctrl-C does, and wait until it has stopped."""
        if self._running:
            self._process.send_signal(signal.SIGINT)
        self.settle()

    def close(self) -> None:
        """End gdb; with it what it started."""
        if self._process.poll() is None and self._process.stdin is not None:
            try:
                self._process.stdin.write(b"-gdb-exit\n")
                self._process.stdin.close()
                self._process.wait(timeout=20)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()
        for descriptor in self._program_fds:
            os.close(descriptor)
        self._program_fds = []
