"""Carrying the user's command to its end where a stop in its course is not the user's.

An access that no watch reports stops gdb in the middle of a ``next``. The command that is
under way is told by gdb's hooks, which the machine interface runs too; where it ends is
gdb's to say: the same command is run again from where the thread stands, after a run to
the return into the frame it was given in where the thread is deeper. What runs with none
of these commands under way just continues.

gdb keeps the count of ``next 5`` to itself: such a command ends after the step in which
the access came.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import gdb

from pagezap.debugger.api import Stop
from pagezap.debugger.backends.gdb_events import define_hook, thread_of
from pagezap.debugger.backends.gdb_symbols import frame_text
from pagezap.debugger.errors import InjectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagezap.debugger.backends.gdb_events import Events

LINES = frozenset({"next", "step"})
INSTRUCTIONS = frozenset({"nexti", "stepi"})
PLACES = frozenset({"until", "advance"})
CARRIED = LINES | INSTRUCTIONS | PLACES | {"finish"}
PLAIN = frozenset({"continue", "jump", "signal"})
"""Commands that continue: they end what an earlier one left that failed."""

HOOK = """define hook-{command}
python import pagezap.debugger.backends.gdb as g; g.about_to_run("{command}")
end
document hook-{command}
Tells pagezap what runs, to carry it over accesses that are not reported.
end"""

GOAL = re.compile(r"0\s+until\s.*?\sy\s+(?P<address>0x[0-9a-f]+)\s")
"""A breakpoint of an ``until`` or ``advance`` under way in ``maint info breakpoints``."""
IN_FRAME = "stop only in stack frame"


class Course(NamedTuple):
    """A command under way."""

    command: str
    thread: int
    """gdb's number of the thread it was given for."""
    frame: Any
    """The frame it was given in: the selected one for those that gdb takes so."""
    pc: int
    line: tuple[str, int] | None
    """Source line of ``pc``."""
    end: int
    """First address after the line's instructions at ``pc``."""
    caller: int | None
    """Where the frame returns to."""


class _Goal(gdb.Breakpoint):  # type: ignore[misc]
    """Stops silently at an address, in one thread and, where given, one frame."""

    def __init__(self, address: int, frame: Any, thread: int) -> None:
        super().__init__(f"*{address:#x}", internal=True)
        self.silent = True
        self.thread = thread
        self._frame = frame

    def stop(self) -> bool:
        """Return whether this is the frame and not another call of its function."""
        return self._frame is None or bool(_real(gdb.newest_frame()) == self._frame)


class Stepping:
    """Knows the command under way and goes on with it."""

    def __init__(self, events: Events) -> None:
        """Know of no command."""
        self._events = events
        self._armed = False
        self._course: Course | None = None
        self._goals: dict[int, bool] | None = None
        """Where an ``until`` or ``advance`` goes, and whether in its frame only; None
        before it runs."""
        self._switched = False
        """Whether it was said that the command's thread is selected again."""
        gdb.events.cont.connect(self._on_cont)

    # -- what is under way ---------------------------------------------------------
    def arm(self) -> None:
        """Hear of commands from here on."""
        if not self._armed:
            self._armed = True
            for command in sorted(CARRIED | PLAIN):
                define_hook(command, HOOK)

    def disarm(self) -> None:
        """Hear of none; the hooks stay and do nothing."""
        self._armed = False
        self.forget()

    def forget(self) -> None:
        """The command under way has ended."""
        self._course = None
        self._goals = None
        self._switched = False

    def begins(self, command: str) -> None:
        """Hear that the user's ``command`` is about to run."""
        if self._events.busy:
            return
        self.forget()
        if not self._armed or command not in CARRIED:
            return
        with contextlib.suppress(gdb.error, AttributeError):
            thread = gdb.selected_thread()
            chosen = command in PLACES or command == "finish"
            frame = gdb.selected_frame() if chosen else gdb.newest_frame()
            place = gdb.find_pc_line(frame.pc())
            older = _real(frame).older()
            self._course = Course(
                command,
                thread.num,
                frame,
                frame.pc(),
                _line(place),
                place.last + 1 if place.last is not None else frame.pc(),
                older.pc() if older is not None else None,
            )

    def _on_cont(self, _event: Any) -> None:
        """Learn where an ``until`` goes: its breakpoints exist only while it runs."""
        course = self._course
        if course is None or course.command not in PLACES or self._goals is not None:
            return
        with contextlib.suppress(gdb.error):
            self._goals = _goals(gdb.execute("maint info breakpoints", to_string=True))
            if course.caller is not None:
                self._goals.pop(course.caller, None)

    # -- going on ------------------------------------------------------------------
    def go_on(self, run: Callable[[str], Stop]) -> Stop:
        """Carry on to the end of what is under way, or to a stop before it.

        ``run`` runs a command of gdb's quietly and returns its stop.
        """
        course = self._course
        if course is None or not self._switch(course.thread):
            return run("continue")
        try:
            frame = course.frame if course.frame.is_valid() else None
            if course.command in INSTRUCTIONS:
                return self._instruction(course, frame, run)
            if course.command in LINES:
                return self._line_step(course, frame, run)
            if frame is None:
                return self._done(course)
            if course.command in PLACES:
                return self._place(course, frame, run)
            frame.select()
            return run("finish")
        except gdb.error as error:
            raise InjectionError(f"{course.command} cannot go on ({error})") from error

    def _switch(self, number: int) -> bool:
        """Select a thread by gdb's number; False where it is gone."""
        selected = gdb.selected_thread()
        if selected is not None and selected.num == number:
            return True
        for native in gdb.selected_inferior().threads():
            if native.num == number:
                native.switch()
                if not self._switched:
                    # gdb has said already that it switched to the other one.
                    gdb.write(f"[Switching back to thread {number}]\n")
                self._switched = True
                return True
        return False

    def _instruction(self, course: Course, frame: Any, run: Callable[[str], Stop]) -> Stop:
        newest = gdb.newest_frame()
        if frame is not None and _real(newest) != _real(frame) and course.command == "nexti":
            stop = self._to_return(course, frame, run)
            return stop or self._done(course)
        if newest.pc() == course.pc and _real(newest) == _real(course.frame):
            return run(course.command)
        return self._done(course)

    def _line_step(self, course: Course, frame: Any, run: Callable[[str], Stop]) -> Stop:
        if frame is None:
            return self._done(course)
        newest = gdb.newest_frame()
        if _real(newest) != _real(frame):
            entered = course.command == "step" and self._entered(newest, frame)
            if entered:
                goal = _after_prologue(newest)
                if goal is not None and newest.pc() < goal:
                    stop = _run_to([_Goal(goal, _real(newest), course.thread)], run)
                    if stop is not None:
                        return stop
                return self._done(course)
            stop = self._to_return(course, frame, run)
            if stop is not None:
                return stop
        if self._at_another_line(course):
            return self._done(course)
        return run(course.command)

    @staticmethod
    def _entered(newest: Any, frame: Any) -> bool:
        """Whether ``step`` has gone into a function with lines, called from ``frame``."""
        real = _real(newest)
        return real.older() == _real(frame) and _line(gdb.find_pc_line(real.pc())) is not None

    @staticmethod
    def _at_another_line(course: Course) -> bool:
        pc = gdb.newest_frame().pc()
        place = gdb.find_pc_line(pc)
        line = _line(place)
        return line is None or (line != course.line and place.pc == pc)

    def _place(self, course: Course, frame: Any, run: Callable[[str], Stop]) -> Stop:
        if self._goals:
            return self._to_goals(course, frame, run)
        # Without a location: a next that does not go back in its function.
        if _real(gdb.newest_frame()) != _real(frame):
            stop = self._to_return(course, frame, run)
            if stop is not None:
                return stop
        stop = None
        while (stop is None or stop.reason == "step") and self._before_end(course):
            stop = run("until")
        return stop or self._done(course)

    def _before_end(self, course: Course) -> bool:
        newest = gdb.newest_frame()
        function = newest.function()
        if newest != course.frame or function is None:
            return False
        start = int(function.value().address)
        return start <= newest.pc() < course.end or not self._at_another_line(course)

    def _to_return(self, course: Course, frame: Any, run: Callable[[str], Stop]) -> Stop | None:
        """Run to the return into ``frame``; None there, else the stop that came first."""
        there = _real(frame)
        return _run_to([_Goal(there.pc(), there, course.thread)], run)

    def _to_goals(self, course: Course, frame: Any, run: Callable[[str], Stop]) -> Stop:
        """Run to one of the places, or to the return of the frame."""
        there, newest = _real(frame), gdb.newest_frame()
        wanted = [(address, there if own else None) for address, own in (self._goals or {}).items()]
        caller = there.older()
        if caller is not None:
            wanted.append((caller.pc(), _real(caller)))
        if any(
            newest.pc() == address and (where is None or _real(newest) == where)
            for address, where in wanted
        ):
            return self._done(course, whole=True)
        stop = _run_to([_Goal(address, where, course.thread) for address, where in wanted], run)
        return stop or self._done(course, whole=True)

    @staticmethod
    def _done(course: Course, *, whole: bool = False) -> Stop:
        """Show where the command has ended, as gdb would; ``whole`` with the place in words."""
        frame = gdb.newest_frame()
        frame.select()
        text = frame_text()
        location, _, source = text.partition("\n")
        if frame == course.frame and source and not whole:
            inside = gdb.find_pc_line(frame.pc()).pc != frame.pc()
            text = f"{location.split()[0]}\t{source}" if inside else source
        gdb.write(text)
        return Stop("step", thread=thread_of(gdb.selected_thread()))


def _run_to(goals: list[_Goal], run: Callable[[str], Stop]) -> Stop | None:
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


def _goals(text: str) -> dict[int, bool]:
    """Return the addresses of gdb's ``until`` breakpoints and whether they want one frame."""
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


def _real(frame: Any) -> Any:
    """Return the frame itself, or the one it is inlined into."""
    while frame.type() == gdb.INLINE_FRAME:
        frame = frame.older()
    return frame


def _line(place: Any) -> tuple[str, int] | None:
    return (place.symtab.filename, place.line) if place.symtab is not None and place.line else None


def _after_prologue(frame: Any) -> int | None:
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
