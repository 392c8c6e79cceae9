"""Our commands as lldb's own: failure, help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pagezap.debugger.errors import PagezapError, internal_error

if TYPE_CHECKING:
    from pagezap.debugger.api import CommandSpec
    from pagezap.debugger.backends.lldb import LldbDebugger


def add(debugger: LldbDebugger, spec: CommandSpec) -> None:
    """Register a command."""
    number = debugger.native.GetID()
    name = f"{spec.name.replace('-', '_')}_{number}"
    globals()[name] = type(name, (_Command,), {"debugger": debugger, "spec": spec})
    # lldb finds a class by the names that its own scripts know.
    debugger.native.HandleCommand(f"script import {__name__}")
    debugger.native.HandleCommand(f"command script add -o -c {__name__}.{name} {spec.name}")


class _Command:
    """One command; fails as lldb's commands do, in one line."""

    debugger: LldbDebugger
    spec: CommandSpec

    def __init__(self, _native: Any, _internal: Any) -> None:
        """Made by lldb, one object a command."""

    def __call__(self, _native: Any, argument: str, _context: Any, result: Any) -> None:
        """Run the command. What it raises becomes the command's failure."""
        debugger, spec = type(self).debugger, type(self).spec
        shown: list[str] = []
        debugger.output = shown
        error = ""
        try:
            spec.invoke(argument)
        except PagezapError as failure:
            error = failure.line()
        except BaseException as failure:
            # lldb would take it for a success.
            error = internal_error(spec.name, failure, shown.append)
        finally:
            debugger.output = None
        result.PutCString("".join(shown).rstrip("\n"))
        if error:
            result.SetError(error)

    def get_short_help(self) -> str:
        """Return the line that ``help`` shows among others."""
        return type(self).spec.help.partition("\n")[0]

    def get_long_help(self) -> str:
        """Return what ``help COMMAND`` shows."""
        return type(self).spec.help
