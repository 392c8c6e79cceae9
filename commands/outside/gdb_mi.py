"""A gdb driven over GDB/MI: one command at a time, each waited for to its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
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
    """The debugger ended although nobody asked it to."""

    kind = "debugger-gone"


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


@dataclass
class _Pending:
    """A command under way."""

    token: int
    reply: Reply = field(default_factory=Reply)
    done: bool = False


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
        self._running = False
        self._quiet = False
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
        reply = self._send(f"-interpreter-exec console {quote(command)}").reply
        if wait:
            while True:
                while self._running:
                    self._read(_Pending(-1, reply))
                # gdb answers only when what it runs at a stop has ended.
                probe = _Pending(0, reply)
                probe = self._send("-gdb-show confirm", probe)
                if not self._running:
                    break
        self._quiet = False
        return reply

    def _send(self, line: str, pending: _Pending | None = None) -> _Pending:
        self._token += 1
        if pending is None:
            pending = _Pending(self._token)
        pending.token = self._token
        pending.done = False
        stream = self._process.stdin
        if stream is None:
            raise DebuggerGoneError("gdb has no input")
        try:
            stream.write(f"{self._token}{line}\n".encode())
            stream.flush()
        except BrokenPipeError:
            raise DebuggerGoneError("gdb has ended unexpectedly") from None
        while not pending.done:
            self._read(pending)
        return pending

    def _read(self, pending: _Pending) -> None:
        """Read one line from gdb and account for it."""
        from pygdbmi import gdbmiparser

        stream = self._process.stdout
        line = stream.readline() if stream is not None else b""
        if not line:
            raise DebuggerGoneError(
                "gdb has ended unexpectedly", hint=f"Its status is {self._process.wait()}"
            )
        text = line.decode(errors="replace").rstrip("\r\n")
        if not text or gdbmiparser.response_is_finished(text):
            return
        record = gdbmiparser.parse_response(text)
        kind, payload = record["type"], record["payload"]
        if kind in {"console", "target"}:
            self._shown(pending, payload or "")
        elif kind == "log":
            pending.reply.log += payload or ""
            if not self._quiet:
                sys.stderr.write(payload or "")
        elif kind == "notify":
            self._notified(pending, record["message"], payload or {})
        elif kind == "result":
            self._answered(pending, record)
        elif kind == "output" and not self._quiet:
            sys.stderr.write(text + "\n")

    def _shown(self, pending: _Pending, text: str) -> None:
        pending.reply.output += text
        if not self._quiet:
            self._console(text)

    def _notified(self, pending: _Pending, message: str, payload: Mapping[str, object]) -> None:
        if message == "running":
            self._running = True
        elif message == "stopped":
            self._running = False
            pending.reply.stop = payload

    def _answered(self, pending: _Pending, record: Mapping[str, object]) -> None:
        if record["token"] != pending.token:
            return
        pending.done = True
        payload = record["payload"]
        if record["message"] == "error":
            pending.reply.ok = False
            if isinstance(payload, dict):
                pending.reply.message = str(payload.get("msg", ""))

    def interrupt(self) -> None:
        """Stop the inferior, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

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
