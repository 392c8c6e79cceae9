"""The one place where a command is run, rendered and made to fail.

Commands raise typed errors and return results; the debugger backends turn a typed
error into their debugger's own failure. What lies between, and nothing else, is here.
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.commands.framework.help import help_text
from pagezap.commands.framework.parser import parse
from pagezap.debugger.errors import (
    HelperError,
    NoInferiorError,
    PagezapError,
    PermissionRefusedError,
)

if TYPE_CHECKING:
    from pagezap.commands.session.context import Context

JSON_WORD = re.compile(r"(?:^|\s)--j(?:s|so|son)?(?=\s|$)")
"""How a line asks for JSON, even one that the parser then refuses."""

GONE = (errno.ESRCH, errno.ENOENT)
DENIED = (errno.EPERM, errno.EACCES)


class HelpResult(Result):
    """The help of a command, asked for with ``--help``."""

    def __init__(self, command: Command) -> None:
        """Show the help of ``command``."""
        self._command = command

    def json(self) -> dict[str, object]:
        """Return the help as one string."""
        return {"help": help_text(self._command)}

    def text(self) -> str:
        """Return the help as a person reads it."""
        return help_text(self._command)


def invoke(command: Command, context: Context, text: str) -> None:
    """Run a command on its raw arguments and print what it returns. Raises PagezapError."""
    as_json = JSON_WORD.search(text) is not None
    try:
        result = _run(command, context, text)
        as_json = as_json or _asked_for_json(command, text)
    except PagezapError as error:
        if as_json:
            context.debugger.write(failure_line(command.name, error))
        raise
    if as_json:
        context.debugger.write(result_line(command.name, result))
    else:
        shown = result.text()
        if shown:
            context.debugger.write(shown.rstrip("\n") + "\n")
    if result.failure is not None:
        raise result.failure


def _asked_for_json(command: Command, text: str) -> bool:
    return "--j" in text and parse(text, command.options, command.operands).flag("json")


def _run(command: Command, context: Context, text: str) -> Result:
    """Run a command; every error that the outside world can cause becomes a typed one."""
    try:
        arguments = parse(text, command.options, command.operands)
        if arguments.flag("help"):
            return HelpResult(command)
        return command.run(context, arguments)
    except PagezapError:
        raise
    except OSError as error:
        raise (translate_control(error) or translate(error)) from error


def translate_control(error: OSError) -> PagezapError | None:
    """Return the typed error for one of the helper's client, None for any other."""
    from pagezap.native.control import ControlError, HelperGoneError

    if isinstance(error, HelperGoneError):
        return HelperError(
            f"The helper is gone ({error.strerror})",
            hint="Its keeper brings the kept pages back; uffd-release forgets the session",
            kind="helper-gone",
        )
    if isinstance(error, ControlError):
        return HelperError(
            f"The helper refused {error.op.lower().replace('_', ' ')}: {error.strerror}",
            hint="uffd-status shows its state",
            kind="helper",
        )
    return None


def translate(error: OSError) -> PagezapError:
    """Return the typed error for one that the system gave."""
    where = f" ({error.filename})" if error.filename else ""
    words = error.strerror or str(error)
    if error.errno in GONE and "/proc/" in str(error.filename or "/proc/"):
        return NoInferiorError(f"The inferior is gone: {words}{where}")
    if error.errno in DENIED:
        return PermissionRefusedError(
            f"{words}{where}", hint="Run the debugger as the inferior's user or as root"
        )
    if error.errno == errno.ENOMEM:
        return PagezapError(f"Out of memory{where}", kind="no-memory")
    return PagezapError(f"{words}{where}", kind="system")


def to_line(body: dict[str, object]) -> str:
    """Return a JSON object as one line."""
    from json import dumps

    return dumps(body, ensure_ascii=True, separators=(", ", ": ")) + "\n"


def error_body(error: PagezapError) -> dict[str, object]:
    """Return an error as JSON shows it."""
    return {"kind": error.kind, "message": error.message, "hint": error.hint}


def failure_line(name: str, error: PagezapError) -> str:
    """Return the one line that a failed command prints with ``--json``."""
    return to_line({"command": name, "ok": False, "error": error_body(error)})


def result_line(name: str, result: Result) -> str:
    """Return the one line that a command prints with ``--json``."""
    body: dict[str, object] = {"command": name, "ok": result.failure is None}
    body.update(result.json())
    if result.failure is not None:
        body["error"] = error_body(result.failure)
    return to_line(body)
