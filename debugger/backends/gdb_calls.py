"""What is called by name from without: the loading, our hooks, our catchpoint's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.debugger.backends.gdb import GdbDebugger

if TYPE_CHECKING:
    from collections.abc import Callable

_loaded: list[GdbDebugger] = []


def load(register: Callable[[GdbDebugger], None]) -> None:
    """Give ``register`` the debugger, the same one each time."""
    if not _loaded:
        _loaded.append(GdbDebugger())
    register(_loaded[0])


def about_to_release() -> None:
    """Run before a command that lets the inferior go."""
    for debugger in _loaded:
        debugger.about_to_release()


def about_to_save() -> None:
    """Run before gdb saves the breakpoints."""
    for debugger in _loaded:
        debugger.about_to_save()


def about_to_run(command: str) -> None:
    """Run before a command that runs the inferior."""
    for debugger in _loaded:
        debugger.about_to_run(command)


def serve() -> None:
    """Run by the commands of our catchpoint."""
    for debugger in _loaded:
        debugger.serve()
