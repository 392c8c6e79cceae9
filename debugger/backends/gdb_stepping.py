"""Carrying the user's command to its end where a stop in its course is not the user's.

An access that no watch reports stops gdb in the middle of a ``next``. The command that is
under way is told by gdb's hooks, which the machine interface runs too; where it ends is
gdb's to say: the same command is run again from where the thread stands, after a run to
the return into the frame it was given in where the thread is deeper. Where that frame has
returned gdb steps on to the end of the caller's line, and so do we. What runs with none of
these commands under way just continues.

gdb keeps the count of ``next 5`` to itself: such a command ends after the step in which
the access came.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import gdb

from pagezap.debugger.api import Stop
from pagezap.debugger.backends.gdb_alone import (
    alone,
    breakpoints_at,
    unnoticed,
    without_breakpoints,
)
from pagezap.debugger.backends.gdb_events import thread_of
from pagezap.debugger.backends.gdb_execute import execute
from pagezap.debugger.backends.gdb_goals import (
    Exit,
    Goal,
    after_prologue,
    function_of,
    line_of,
    outer_frames,
    real_frame,
    run_to,
    until_goals,
)
from pagezap.debugger.backends.gdb_hooks import define_hook
from pagezap.debugger.backends.gdb_language import hexadecimal
from pagezap.debugger.backends.gdb_signals import STOP_SIGNAL
from pagezap.debugger.backends.gdb_symbols import frame_text
from pagezap.debugger.errors import InjectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pagezap.debugger.backends.gdb_events import Events

LINES = frozenset({"next", "step"})
INSTRUCTIONS = frozenset({"nexti", "stepi"})
PLACES = frozenset({"until", "advance"})
CARRIED = LINES | INSTRUCTIONS | PLACES | {"finish"}
PLAIN = frozenset({"continue", "jump", "signal"})
"""Commands that continue: they end what an earlier one left that failed."""

CARRY = "Tells pagezap what runs, to carry it over accesses that are not reported."


class Course(NamedTuple):
    """A command under way."""

    command: str
    thread: int
    """gdb's global number of the thread it was given for."""
    frame: Any
    """The frame it was given in: the selected one for those that gdb takes so."""
    pc: int
    line: tuple[str, int] | None
    """Source line of ``pc``."""
    end: int
    """First address after the line's instructions at ``pc``."""
    outer: tuple[tuple[Any, int], ...]
    """The frames that it returns into, and where they go on."""
    function: tuple[str, str, int] | None
    """The function that the command was given in."""
    headed: bool = False
    """Whether where it ends is shown with the place in words in any case."""


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
        self._exit: Exit | None = None
        """Notes the return of the course's frame, where it matters."""
        self._switched = False
        """Whether it was said that the command's thread is selected again."""
        guard = events.interrupts.guard
        gdb.events.cont.connect(guard(self._on_cont))
        # What follows has nothing at the old addresses.
        gdb.events.exited.connect(guard(self._on_end))
        gdb.events.clear_objfiles.connect(guard(self._on_end))

    # -- what is under way ---------------------------------------------------------
    def arm(self) -> None:
        """Hear of commands from here on."""
        if not self._armed:
            self._armed = True
            for command in sorted(CARRIED | PLAIN):
                define_hook(command, f'about_to_run("{command}")', CARRY)

    def disarm(self) -> None:
        """Hear of none; the hooks stay and do nothing."""
        self._armed = False
        self.forget()

    def forget(self) -> None:
        """The command under way has ended."""
        self._course = None
        self._goals = None
        self._switched = False
        self._note_return()

    def _on_end(self, _event: Any) -> None:
        self.forget()

    def _note_return(self) -> None:
        """Note the return of the course's frame from here on.

        Where the caller has no lines gdb ends the command at the return.
        """
        made, self._exit = self._exit, None
        if made is not None and made.is_valid():
            made.delete()
        course = self._course
        if course is None or not (course.command in LINES or course.command == "until"):
            return
        if course.outer and line_of(gdb.find_pc_line(course.outer[0][1])) is not None:
            self._exit = Exit(course.outer[0][0], course.thread)

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
            self._course = Course(
                command,
                thread.global_num,
                frame,
                frame.pc(),
                line_of(place),
                place.last + 1 if place.last is not None else frame.pc(),
                outer_frames(frame),
                function_of(frame),
            )
            self._note_return()

    def _on_cont(self, _event: Any) -> None:
        """Learn where an ``until`` goes: its breakpoints exist only while it runs."""
        course = self._course
        if course is None or course.command not in PLACES or self._goals is not None:
            return
        with contextlib.suppress(gdb.error):
            self._goals = until_goals()
            if course.outer:
                self._goals.pop(course.outer[0][1], None)

    # -- going on ------------------------------------------------------------------
    def go_on(self, run: Callable[[str], Stop]) -> Stop:
        """Carry on to the end of what is under way, or to a stop before it.

        ``run`` runs a command of gdb's quietly and returns its stop.
        """
        course = self._course
        if course is None or not self._switch(course.thread):
            return run("continue")
        try:
            stop = self._off_breakpoint(course, run)
            if stop is not None:
                return stop
            course = self._in_caller(course)
            frame = course.frame if course.frame is not None and course.frame.is_valid() else None
            if course.command in INSTRUCTIONS:
                return self._instruction(course, frame, run)
            if course.command in LINES:
                return self._line_step(course, frame, run)
            if frame is None:
                return self._done(course, run)
            if course.command in PLACES:
                return self._place(course, frame, run)
            frame.select()
            return run("finish")
        except gdb.error as error:
            raise InjectionError(f"{course.command} cannot go on ({error})") from error

    def _in_caller(self, course: Course) -> Course:
        """Return the course as it goes on in the caller, where its frame has returned."""
        if self._exit is None or self._goals:
            return course
        if course.frame.is_valid() and not self._exit.passed:
            return course
        for frame, back in course.outer:
            if not frame.is_valid():
                continue
            again = function_of(frame) == course.function
            self._course = course._replace(
                # gdb's ``until`` has a range of addresses of its function.
                command=course.command if again or course.command in LINES else "next",
                frame=frame,
                pc=back,
                line=line_of(gdb.find_pc_line(back)),
                outer=outer_frames(frame),
                headed=course.headed or not again,
            )
            self._note_return()
            return self._course
        return course._replace(frame=None)

    def _switch(self, number: int) -> bool:
        """Select a thread by gdb's global number; False where it is gone."""
        selected = gdb.selected_thread()
        if selected is not None and selected.global_num == number:
            return True
        for native in gdb.selected_inferior().threads():
            if native.global_num == number:
                native.switch()
                if not self._switched:
                    # gdb has said already that it switched to the other one.
                    gdb.write(f"[Switching back to thread {native.num}]\n")
                self._switched = True
                return True
        return False

    @staticmethod
    def _off_breakpoint(course: Course, run: Callable[[str], Stop]) -> Stop | None:
        """Leave the breakpoint that the command began at: gdb would hit it once more.

        Return the stop that came before it was left.
        """
        newest = gdb.newest_frame()
        if newest.pc() != course.pc or real_frame(newest) != real_frame(course.frame):
            return None
        with without_breakpoints(course.pc) as any_there:
            if not any_there:
                return None
            with alone(), unnoticed():
                stop = run("stepi")
        return None if stop.reason == "step" else stop

    def _instruction(self, course: Course, frame: Any, run: Callable[[str], Stop]) -> Stop:
        newest = gdb.newest_frame()
        if (
            frame is not None
            and real_frame(newest) != real_frame(frame)
            and course.command == "nexti"
        ):
            stop = self._to_return(course, frame, run)
            return stop or self._done(course, run)
        if newest.pc() == course.pc and real_frame(newest) == real_frame(course.frame):
            return run(course.command)
        return self._done(course, run)

    def _line_step(self, course: Course, frame: Any, run: Callable[[str], Stop]) -> Stop:
        if frame is None:
            return self._done(course, run)
        newest = gdb.newest_frame()
        if real_frame(newest) != real_frame(frame):
            entered = course.command == "step" and self._entered(newest, frame)
            if entered:
                goal = after_prologue(newest)
                if goal is not None and newest.pc() < goal:
                    stop = run_to([Goal(goal, real_frame(newest), course.thread)], run)
                    if stop is not None:
                        return stop
                return self._done(course, run)
            stop = self._to_return(course, frame, run)
            if stop is not None:
                return stop
        if self._at_another_line(course):
            return self._done(course, run)
        if not course.headed:
            return run(course.command)
        with _setting("print frame-info", "source-and-location", where="auto"):
            return run(course.command)

    @staticmethod
    def _entered(newest: Any, frame: Any) -> bool:
        """Whether ``step`` has gone into a function with lines, called from ``frame``."""
        real = real_frame(newest)
        return (
            real.older() == real_frame(frame) and line_of(gdb.find_pc_line(real.pc())) is not None
        )

    @staticmethod
    def _at_another_line(course: Course) -> bool:
        pc = gdb.newest_frame().pc()
        place = gdb.find_pc_line(pc)
        line = line_of(place)
        return line is None or (line != course.line and place.pc == pc)

    def _place(self, course: Course, frame: Any, run: Callable[[str], Stop]) -> Stop:
        if self._goals:
            return self._to_goals(course, frame, run)
        # Without a location: a next that does not go back in its function.
        if real_frame(gdb.newest_frame()) != real_frame(frame):
            stop = self._to_return(course, frame, run)
            if stop is not None:
                return stop
        stop = None
        with unnoticed():
            while (stop is None or stop.reason == "step") and self._before_end(course):
                stop = run("until")
        if stop is None or stop.reason == "step":
            return self._done(course, run)
        if stop.reason in {"signal", "breakpoint"} and stop.signal != STOP_SIGNAL:
            self._events.unshown = stop
        return stop

    def _before_end(self, course: Course) -> bool:
        newest = gdb.newest_frame()
        function = newest.function()
        if newest != course.frame or function is None:
            return False
        start = int(function.value().address)
        return start <= newest.pc() < course.end or not self._at_another_line(course)

    def _to_return(self, course: Course, frame: Any, run: Callable[[str], Stop]) -> Stop | None:
        """Run to the return into ``frame``; None there, else the stop that came first."""
        there = real_frame(frame)
        return run_to([Goal(there.pc(), there, course.thread)], run)

    def _to_goals(self, course: Course, frame: Any, run: Callable[[str], Stop]) -> Stop:
        """Run to one of the places, or to the return of the frame."""
        there, newest = real_frame(frame), gdb.newest_frame()
        wanted = [(address, there if own else None) for address, own in (self._goals or {}).items()]
        caller = there.older()
        if caller is not None:
            wanted.append((caller.pc(), real_frame(caller)))
        if any(
            newest.pc() == address and (where is None or real_frame(newest) == where)
            for address, where in wanted
        ):
            return self._done(course, run, whole=True)
        stop = run_to([Goal(address, where, course.thread) for address, where in wanted], run)
        return stop or self._done(course, run, whole=True)

    @staticmethod
    def _done(course: Course, run: Callable[[str], Stop], *, whole: bool = False) -> Stop:
        """Show where the command has ended, as gdb would; ``whole`` with the place in words.

        At a breakpoint that the thread has come to and not hit, it is hit.
        """
        frame = gdb.newest_frame()
        if breakpoints_at(frame.pc()):
            goal = Goal(frame.pc(), None, course.thread)
            with alone(), hexadecimal():
                stop = run_to([goal], lambda _: run(f"jump *{frame.pc():#x}"))
            if stop is not None:
                return stop
            frame = gdb.newest_frame()
        frame.select()
        text = frame_text()
        location, _, source = text.partition("\n")
        if frame == course.frame and source and not (whole or course.headed):
            inside = gdb.find_pc_line(frame.pc()).pc != frame.pc()
            text = f"{location.split()[0]}\t{source}" if inside else source
        gdb.write(text)
        return Stop("step", thread=thread_of(gdb.selected_thread()))


@contextlib.contextmanager
def _setting(name: str, value: str, *, where: str) -> Iterator[None]:
    """Change a setting of gdb's for the body, where it is as ``where`` says."""
    changed = gdb.parameter(name) == where
    if changed:
        execute(f"set {name} {value}")
    try:
        yield
    finally:
        if changed:
            execute(f"set {name} {where}")
