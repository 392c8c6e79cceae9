"""``pagezap exec``: commands in a real gdb, from a shell or a program."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pagezap.commands.framework.boundary import to_line
from pagezap.commands.framework.registry import NAMES
from pagezap.commands.outside import init, script
from pagezap.commands.outside.gdb_mi import DebuggerGoneError, Gdb, Reply, find_gdb
from pagezap.debugger.errors import PagezapError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REASONS = {
    "breakpoint-hit": "breakpoint",
    "watchpoint-trigger": "watchpoint",
    "read-watchpoint-trigger": "watchpoint",
    "access-watchpoint-trigger": "watchpoint",
    "signal-received": "signal",
    "end-stepping-range": "step",
    "function-finished": "step",
    "location-reached": "step",
    "exited": "exited",
    "exited-normally": "exited",
    "exited-signalled": "exited",
}
STOP_KEYS = ("watch", "address", "access", "tid", "pc", "symbol", "old", "new")
QUIT = frozenset({"quit", "q", "exit", "exi"})
"""Words that gdb takes for ``quit``."""
STOP_QUERY = "python print(__import__('pagezap.commands.load_gdb', fromlist=['x']).stop_json())"


@dataclass(frozen=True)
class Job:
    """What ``pagezap exec`` is to do."""

    debugger_path: str | None
    pid: int | None
    program: Sequence[str]
    steps: Sequence[tuple[str, str]]
    """Pairs of ``command`` or ``script`` and its text or file, in order."""
    as_json: bool


def own_name(command: str) -> str | None:
    """Return the pagezap command that a line calls, None where it is the debugger's own."""
    word = command.split(None, 1)[0] if command.strip() else ""
    if word in NAMES:
        return word
    matches = [name for name in NAMES if name.startswith(word)] if "-" in word else []
    return matches[0] if len(matches) == 1 else None


class Runner:
    """Runs the steps of one job and shows what they did."""

    def __init__(self, job: Job) -> None:
        """Take a job; nothing runs yet."""
        self._job = job
        self._status = 0
        self._command = "exec"
        """The command under way."""

    def run(self) -> int:
        """Run the whole job; return the exit status."""
        scripts = {
            text: list(script.commands(text)) for kind, text in self._job.steps if kind == "script"
        }
        program = self._find_program()
        gdb = Gdb(find_gdb(self._job.debugger_path), program, self._console)
        try:
            self._prepare(gdb)
            for kind, text in self._job.steps:
                if kind == "command":
                    self._step(gdb, text)
                    continue
                for command in scripts[text]:
                    if not self._step(gdb, command):
                        break
        except DebuggerGoneError as error:
            self._gone(error)
        except KeyboardInterrupt:
            with suppress(PagezapError):
                gdb.interrupt()
            raise
        finally:
            self._end(gdb)
        return self._status

    def _find_program(self) -> list[str]:
        if not self._job.program:
            return []
        path = shutil.which(self._job.program[0])
        if path is None:
            raise PagezapError(f"No program {self._job.program[0]}", kind="usage")
        return [path, *self._job.program[1:]]

    def _prepare(self, gdb: Gdb) -> None:
        """Load the commands and attach. Raises PagezapError."""
        loaded = gdb.execute(init.line(), quiet=True)
        if not loaded.ok:
            raise PagezapError(
                f"gdb could not load the commands: {loaded.message}", kind="no-debugger"
            )
        if self._job.pid is not None:
            attached = gdb.execute(f"attach {self._job.pid}", quiet=True)
            if not attached.ok:
                error = PagezapError(
                    f"Cannot attach to process {self._job.pid}: {attached.message.rstrip('.')}",
                    hint="uffd-doctor and /proc/sys/kernel/yama/ptrace_scope tell who may",
                    kind="attach",
                )
                if self._job.as_json:
                    self._emit({"command": "attach", "ok": False, "error": _body(error)})
                raise error

    def _end(self, gdb: Gdb) -> None:
        """Release and let the process go on; end a program that was started here."""
        if self._job.pid is not None:
            with suppress(PagezapError):
                gdb.execute("uffd-release", quiet=True)
                gdb.execute("detach", quiet=True)
        gdb.close()

    def _console(self, text: str) -> None:
        """Take what the debugger prints, as it prints it."""
        if not self._job.as_json:
            sys.stdout.write(text)
            sys.stdout.flush()

    def _emit(self, body: Mapping[str, object]) -> None:
        sys.stdout.write(to_line(dict(body)))
        sys.stdout.flush()

    def _gone(self, error: DebuggerGoneError) -> None:
        """Take the end of the debugger for what ``quit`` does, or for a failure."""
        body: dict[str, object] = {"command": self._command, "ok": True}
        body |= {"output": error.reply.output, "stop": None}
        # Status 0 is that of a quit in a block or a user's command, too.
        if error.status and not (error.status > 0 and script.name(self._command) in QUIT):
            body |= {"ok": False, "error": _body(error)}
            sys.stderr.write(f"pagezap: {error.line()}\n")
            self._status = 1
        if error.status > 0:
            self._status = error.status
        if self._job.as_json:
            self._emit(body)

    def _step(self, gdb: Gdb, command: str) -> bool:
        """Run one command and show it; return whether it succeeded. Raises DebuggerGoneError."""
        self._command = command
        name = own_name(command)
        line = command
        if name is not None and self._job.as_json:
            line = " ".join([name, "--json", *command.split(None, 1)[1:]])
        background = command.rstrip().endswith("&")
        reply = self._call(gdb, line, wait=not background)
        if self._job.as_json:
            body = _own_body(reply) if name is not None else None
            if body is None:
                body = self._debugger_body(gdb, command, reply)
            self._emit(body)
        if not reply.ok:
            self._status = 1
            if reply.message not in reply.log:
                sys.stderr.write(f"{reply.message}\n")
        return reply.ok

    @staticmethod
    def _call(gdb: Gdb, line: str, *, wait: bool) -> Reply:
        """Run a command; one of several lines by way of a file, as MI knows no blocks."""
        if "\n" not in line.strip():
            return gdb.execute(line, wait=wait)
        with tempfile.NamedTemporaryFile("w", suffix=".gdb", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            return gdb.execute(f"source {file.name}", wait=wait)

    def _debugger_body(self, gdb: Gdb, command: str, reply: Reply) -> dict[str, object]:
        body: dict[str, object] = {
            "command": command,
            "ok": reply.ok,
            "output": reply.output,
            "stop": None,
        }
        if not reply.ok:
            body["error"] = {"kind": "debugger", "message": reply.message, "hint": ""}
        if reply.stop is not None and not gdb.running:
            body["stop"] = self._stop_body(gdb, reply.stop)
        return body

    @staticmethod
    def _stop_body(gdb: Gdb, record: Mapping[str, object]) -> dict[str, object]:
        """Return why and where the inferior stands."""
        raw = str(record.get("reason", "other"))
        stop: dict[str, object] = {"reason": REASONS.get(raw, raw)}
        stop.update(dict.fromkeys(STOP_KEYS))
        if "signal-name" in record:
            stop["signal"] = record["signal-name"]
        if stop["reason"] == "exited":
            code = record.get("exit-code")
            stop["exit_code"] = int(str(code), 8) if code is not None else 0
            if raw == "exited-signalled":
                stop["exit_code"] = None
            return stop
        if "bkptno" in record:
            stop["breakpoint"] = int(str(record["bkptno"]))
        answer = gdb.execute(STOP_QUERY, quiet=True)
        if answer.ok:
            stop.update(json.loads(answer.output))
        return stop


def _body(error: PagezapError) -> dict[str, object]:
    return {"kind": error.kind, "message": error.message, "hint": error.hint}


def _own_body(reply: Reply) -> dict[str, object] | None:
    """Return the JSON object that a pagezap command printed."""
    for line in reversed(reply.output.splitlines()):
        # gdb may have said something of its own before, without an end of line.
        at = line.find('{"command"')
        if at >= 0:
            body: dict[str, object] = json.loads(line[at:])
            return body
    return None


def run(job: Job) -> int:
    """Run a job; return the exit status of ``pagezap exec``.

    A SIGTERM ends it as Ctrl-C does: what was attached to is released and runs on.
    """
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return Runner(job).run()
    finally:
        signal.signal(signal.SIGTERM, previous)
