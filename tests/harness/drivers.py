"""Three ways to use one debugger: a batch, a terminal, the machine interface.

Each loads pagezap with the line that `pagezap init gdb` prints, and each can run
a list of commands and return what each printed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any

from harness import gdbs

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence

    from harness.gdbs import Gdb

QUIET = ["set width 0", "set height 0"]


def json_of(text: str) -> dict[str, Any]:
    """The one JSON object of a command's output."""
    lines = [line for line in text.splitlines() if line.startswith("{")]
    assert len(lines) == 1, f"not exactly one JSON object in: {text!r}"
    return json.loads(lines[0])


class Output:
    def __init__(self, parts: list[str], stdout: str, stderr: str, status: int) -> None:
        self.parts = parts
        """What each command printed, those that ran."""
        self.stdout = stdout
        self.stderr = stderr
        self.status = status

    def complaints(self) -> list[str]:
        """What was said on standard error, without gdb's own remarks on missing sources."""
        return [
            line
            for line in self.stderr.splitlines()
            if line and not re.match(r"warning:|\d+\t", line)
        ]

    def json(self, index: int = -1) -> dict[str, Any]:
        assert self.parts[index:], self
        assert "{" in self.parts[index], self
        return json_of(self.parts[index])

    def __repr__(self) -> str:
        return f"status {self.status}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


class Base:
    def __init__(self, gdb: Gdb, directory: pathlib.Path, *, load: bool = True) -> None:
        self.gdb = gdb
        self.directory = directory
        self.setup = directory / f"setup-{gdb.name}-{'loaded' if load else 'bare'}.gdb"
        lines = [*QUIET, gdbs.load_line()] if load else QUIET
        self.setup.write_text("\n".join(lines) + "\n")

    def environment(self) -> dict[str, str]:
        return gdbs.environment(self.directory)

    def command_line(self, *options: str) -> list[str]:
        early = ["-iex", "set debuginfod enabled off", "-iex", "set pagination off"]
        return [self.gdb.path, "-nx", "-q", *early, *options]


class Batch(Base):
    """`gdb -batch -ex …`."""

    def start(
        self,
        commands: Sequence[str],
        *,
        pid: int | None = None,
        program: Sequence[str] = (),
        core: str | None = None,
        script: bool = False,
        prefix: Sequence[str] = (),
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        options = ["-batch", "-x", str(self.setup)]
        if pid is not None:
            options += ["-p", str(pid)]
        if core is not None:
            options += ["-c", core]
        if script:
            file = self.directory / f"script-{time.monotonic_ns()}.gdb"
            file.write_text("\n".join(commands) + "\n")
            options += ["-x", str(file)]
        else:
            for number, command in enumerate(commands):
                options += ["-ex", f"echo \\n@@{number}@@\\n", "-ex", command]
            options += ["-ex", "echo \\n@@99999@@\\n"]
        if program:
            options += ["--args", *program]
        return subprocess.Popen(
            [*prefix, *self.command_line(*options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.environment(), **(env or {})},
        )

    def run(self, commands: Sequence[str], *, timeout: float = 100, **how: Any) -> Output:
        process = self.start(commands, **how)
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            raise AssertionError(
                f"gdb does not come back\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
            ) from None
        pieces = re.split(r"\n@@\d+@@\n", stdout)
        # What gdb says at its end belongs to no command.
        parts = pieces[1:-1] if "\n@@99999@@\n" in stdout else pieces[1:]
        return Output(parts, stdout, stderr, process.returncode)


class Interactive(Base):
    """A person at a terminal."""

    PROMPT = "(gdb-is-ready) "

    def __init__(
        self,
        gdb: Gdb,
        directory: pathlib.Path,
        *,
        pid: int | None = None,
        program: Sequence[str] = (),
        load: bool = True,
    ) -> None:
        super().__init__(gdb, directory, load=load)
        options = ["-ex", f"set prompt {self.PROMPT}"]
        if pid is not None:
            options += ["-p", str(pid)]
        options += ["-x", str(self.setup)]
        if program:
            options += ["--args", *program]
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            self.command_line(*options),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self.environment(),
            start_new_session=True,
            # Its own terminal: only so does control-C reach it.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)
        self.buffer = ""
        self.read_until(self.PROMPT)

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def read_until(self, *ends: str, timeout: float = 60) -> str:
        """Return what is printed up to and with the first of ``ends``."""
        deadline = time.monotonic() + timeout
        while True:
            hits = [(self.buffer.find(end), end) for end in ends if end in self.buffer]
            if hits:
                at, end = min(hits)
                text = self.buffer[: at + len(end)]
                self.buffer = self.buffer[at + len(end) :]
                return text
            left = deadline - time.monotonic()
            readable = select.select([self.master], [], [], max(left, 0))[0]
            assert readable, f"no {ends!r} after {timeout} s, but: {self.buffer!r}"
            try:
                data = os.read(self.master, 65536)
            except OSError:
                data = b""
            assert data, f"gdb ended before {ends!r}: {self.buffer!r}"
            self.buffer += data.decode(errors="replace").replace("\r\n", "\n")

    def command(self, text: str, timeout: float = 60) -> str:
        """Type a command; return what it printed."""
        self.send(text + "\n")
        printed = self.read_until(self.PROMPT, timeout=timeout)
        _, _, rest = printed.partition("\n")
        return rest.removesuffix(self.PROMPT)

    def run(self, commands: Sequence[str], timeout: float = 60) -> list[str]:
        return [self.command(command, timeout) for command in commands]

    def interrupt(self) -> None:
        self.send("\x03")

    def quit(self) -> None:
        """Leave as a person does, who answers yes."""
        self.send("quit\n")
        with contextlib.suppress(AssertionError):
            self.read_until("(y or n) ", timeout=5)
            self.send("y\n")
        self.process.wait(20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        with contextlib.suppress(OSError):
            os.close(self.master)


class Mi(Base):
    """A front end, over GDB/MI."""

    def __init__(
        self,
        gdb: Gdb,
        directory: pathlib.Path,
        *,
        pid: int | None = None,
        program: Sequence[str] = (),
        load: bool = True,
    ) -> None:
        super().__init__(gdb, directory, load=load)
        from pygdbmi.gdbmiparser import parse_response

        self.parse = parse_response
        options = ["--interpreter=mi4", "-x", str(self.setup)]
        if program:
            options += ["--args", *program]
        self.process = subprocess.Popen(
            self.command_line(*options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment(),
            start_new_session=True,
        )
        self.token = 0
        self.records: list[dict[str, Any]] = []
        """Every record so far."""
        self._pending = b""
        if pid is not None:
            self.mi(f"-target-attach {pid}")

    @property
    def pid(self) -> int:
        return self.process.pid

    def _lines(self, timeout: float) -> list[str]:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        readable = select.select([fd], [], [], timeout)[0]
        assert readable, f"gdb is silent; the last records: {self.records[-10:]}"
        data = os.read(fd, 65536)
        assert data, f"gdb ended; the last records: {self.records[-10:]}"
        *lines, self._pending = (self._pending + data).split(b"\n")
        return [line.decode(errors="replace").rstrip("\r") for line in lines]

    def _until(self, wanted: Any, timeout: float) -> list[dict[str, Any]]:
        """Collect records until one satisfies ``wanted``."""
        deadline = time.monotonic() + timeout
        collected: list[dict[str, Any]] = []
        found = False
        while not found:
            for line in self._lines(max(deadline - time.monotonic(), 0)):
                if not line or line.startswith("(gdb)"):
                    continue
                try:
                    record = self.parse(line)
                except TypeError as error:
                    raise AssertionError(f"not a record: {line!r}") from error
                collected.append(record)
                self.records.append(record)
                found = found or bool(wanted(record))
        return collected

    def mi(self, command: str, timeout: float = 60) -> dict[str, Any]:
        """Run a command of the machine interface; return its result record."""
        return self._command(command, timeout)[-1]

    def _send(self, command: str) -> int:
        assert self.process.stdin is not None
        self.token += 1
        self.process.stdin.write(f"{self.token}{command}\n".encode())
        self.process.stdin.flush()
        return self.token

    def _command(self, command: str, timeout: float) -> list[dict[str, Any]]:
        token = self._send(command)
        # A command that has stepped the inferior was answered with `running` and gets no other
        # answer: that a second command is answered shows that the first has ended.
        end = self._send("-list-features")
        records = self._until(
            lambda record: record["type"] == "result" and record["token"] == end, timeout
        )
        states = [record["message"] for record in records if record["type"] == "notify"]
        states = [state for state in states if state in ("running", "stopped")]
        if states and states[-1] == "running":
            records += self._until(
                lambda record: record["type"] == "notify" and record["message"] == "stopped",
                timeout,
            )
        results = {record["token"]: record for record in records if record["type"] == "result"}
        return [*(record for record in records if record["type"] != "result"), results[token]]

    def command(self, text: str, timeout: float = 60) -> str:
        """Run a command of the command line; return what it printed."""
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        records = self._command(f'-interpreter-exec console "{quoted}"', timeout)
        console = "".join(
            record["payload"] or "" for record in records if record["type"] == "console"
        )
        result = records[-1]
        if result["message"] == "error":
            console += result["payload"]["msg"] + "\n"
        return console

    def run(self, commands: Sequence[str], timeout: float = 60) -> list[str]:
        return [self.command(command, timeout) for command in commands]

    def quit(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"-gdb-exit\n")
        self.process.stdin.flush()
        self.process.wait(20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
