"""Places in the program that a command under way goes to, and how they are met."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import gdb

from pagezap.debugger.backends.gdb_execute import execute
from pagezap.debugger.backends.gdb_language import hexadecimal

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagezap.debugger.api import Stop

GOAL = re.compile(r"0\s+until\s.*?\sy\s+(?P<address>0x[0-9a-f]+)\s")
"""A breakpoint of an ``until`` or ``advance`` under way in ``maint info breakpoints``."""
IN_FRAME = "stop only in stack frame"
OUTER = 6
"""How many frames may return, one right after the other, in one step of a line."""


class Goal(gdb.Breakpoint):  # type: ignore[misc]
    """Stops silently at an address, in one thread and, where given, one frame."""

    def __init__(self, address: int, frame: Any, thread: int) -> None:
        """Make it; ``thread`` is gdb's global number."""
        with hexadecimal():
            super().__init__(f"*{address:#x}", internal=True)
        self.silent = True
        self.thread = thread
        self._frame = frame

    def stop(self) -> bool:
        """Return whether this is the frame and not another call of its function."""
        return self._frame is None or bool(real_frame(gdb.newest_frame()) == self._frame)


class Exit(gdb.Breakpoint):  # type: ignore[misc]
    """Never stops; notes that a frame has returned.

    The next call of its function from the same place has a frame that gdb takes for equal.
    """

    def __init__(self, caller: Any, thread: int) -> None:
        """Make it where ``caller``, a frame of its own, goes on."""
        with hexadecimal():
            super().__init__(f"*{caller.pc():#x}", internal=True)
        self.silent = True
        self.thread = thread
        self.passed = False
        self._caller = caller

    def stop(self) -> bool:
        """Return False: this is no place to stop."""
        with contextlib.suppress(gdb.error):
            self.passed = self.passed or bool(real_frame(gdb.newest_frame()) == self._caller)
        return False


def run_to(goals: list[Goal], run: Callable[[str], Stop]) -> Stop | None:
    """Continue to one of the goals; None there, else the stop that came first."""
    numbers = {each.number for each in goals}
    try:
        stop = run("continue")
    finally:
        for each in goals:
            each.delete()
    if stop.reason == "breakpoint" and set(stop.breakpoints) <= numbers:
        return None
    return stop


def until_goals() -> dict[int, bool]:
    """Return the addresses of gdb's ``until`` breakpoints and whether they want one frame."""
    command = "maint info breakpoints"
    if not gdb.parameter("print address"):
        command = f"with print address on -- {command}"
    text = execute(command)
    found: dict[int, bool] = {}
    address = None
    for line in text.splitlines():
        begun = GOAL.match(line + " ")
        if begun:
            address = int(begun["address"], 16)
            found[address] = False
        elif (line[:1].isdigit() and not line.startswith("0.")) or line.startswith("-"):
            address = None
        elif address is not None and IN_FRAME in line:
            found[address] = True
    return found


def real_frame(frame: Any) -> Any:
    """Return the frame itself, or the one it is inlined into."""
    while frame.type() == gdb.INLINE_FRAME:
        frame = frame.older()
    return frame


def outer_frames(frame: Any) -> tuple[tuple[Any, int], ...]:
    """Return the nearest frames that a frame returns into, and where each goes on."""
    found: list[tuple[Any, int]] = []
    older = real_frame(frame).older()
    while older is not None and len(found) < OUTER:
        older = real_frame(older)
        found.append((older, older.pc()))
        older = older.older()
    return tuple(found)


def function_of(frame: Any) -> tuple[str, str, int] | None:
    """Return what tells the frame's function from others: file, name, line."""
    function = frame.function()
    return (function.symtab.filename, function.name, function.line) if function else None


def line_of(place: Any) -> tuple[str, int] | None:
    """Return file and line of what gdb finds for an address; None where it has no lines."""
    return (place.symtab.filename, place.line) if place.symtab is not None and place.line else None


def after_prologue(frame: Any) -> int | None:
    """Return where gdb's breakpoint at the frame's function would be."""
    block = gdb.block_for_pc(frame.pc())
    while block is not None and block.function is None:
        block = block.superblock
    if block is None:
        return None
    function = block.function
    try:
        there = gdb.Breakpoint(f"{function.symtab.filename}:{function.name}", internal=True)
    except gdb.error:
        return None
    try:
        inside = [each.address for each in there.locations]
    finally:
        there.delete()
    return next((int(each) for each in inside if block.start <= each < block.end), None)
