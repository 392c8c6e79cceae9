"""What gdb tells of the inferior, sorted into the four things a Listener hears.

Events that our own steps and resumes cause stay here: they are recorded for who made
them. The Listener hears of a stop once, and of a resume once between two stops, though
gdb tells of each internal step of a ``next``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import gdb

from pagezap.debugger import procfs
from pagezap.debugger.api import Stop, Thread
from pagezap.debugger.backends.gdb_execute import TRACE, execute, untraced
from pagezap.debugger.backends.gdb_hooks import define_hook
from pagezap.debugger.backends.gdb_interrupts import Interrupts
from pagezap.debugger.backends.gdb_language import hexadecimal
from pagezap.debugger.backends.gdb_show import is_silent, print_stop
from pagezap.debugger.backends.gdb_signals import STOP_SIGNAL, is_foreign
from pagezap.debugger.errors import PagezapError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pagezap.debugger.api import Listener
    from pagezap.debugger.backends.gdb_signals import Signals, StopCatch

AT_RANDOM = 25
"""auxv entry: sixteen random bytes that each exec makes anew; see getauxval(3)."""

RELEASE = "Lets pagezap bring back what it holds before the process is let go."


def thread_of(native: Any) -> Thread:
    """Return gdb's thread as ours."""
    label = f"{native.inferior.num}.{native.num}" if len(gdb.inferiors()) > 1 else ""
    return Thread(native.num, native.ptid[1] or native.ptid[0], label)


class Events:
    """Connects to gdb's events and keeps the Listener told."""

    def __init__(self, signals: Signals, catch: StopCatch) -> None:
        """Connect."""
        self.listener: Listener | None = None
        self.interrupts = Interrupts()
        self.unshown: Stop | None = None
        """A stop that gdb was kept from printing, since it came in a step of ours."""
        self.moved = False
        """Whether the listener has stepped or resumed since it was told of the stop."""
        self.at_end: Callable[[], None] | None = None
        """Called where a stop has been told and is the user's."""
        self._signals = signals
        self._catch = catch
        self._ours = 0
        self._telling = False
        self._last: Stop | None = None
        self._image: tuple[int, bytes] | None = None
        self._released: set[int] = set()
        self._caught: Stop | None = None
        """A stop at our catchpoint that is still to be told of."""
        self._traced = False
        """Whether commands were traced, and are not while the catchpoint's begin."""
        self._counts: dict[int, tuple[int, int]] = {}
        """The breakpoints' hits when what is ours began."""
        self._calls = 0
        """Functions of the inferior that gdb calls just now, one within another."""
        self._background = False
        """Whether gdb has prompted while the inferior runs."""
        self._running: set[int] = set()
        """Inferiors, by pid, whose resume the listener has heard of."""
        events = gdb.events
        guard = self.interrupts.guard
        events.stop.connect(guard(self._on_stop))
        events.cont.connect(guard(self._on_cont))
        events.exited.connect(guard(self._on_exited))
        events.gdb_exiting.connect(guard(self._on_exiting))
        events.inferior_call.connect(guard(self._on_call))
        events.before_prompt.connect(guard(self._on_prompt))
        events.clear_objfiles.connect(guard(self._on_new_program))
        # Where no hook runs the release follows the detach: the helper signals nothing
        # that has no tracer.
        for command in ("detach", "disconnect"):
            define_hook(command, "about_to_release()", RELEASE)

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """Run the body with its events taken for ours."""
        self._ours += 1
        self._last = None
        self._counts = _hit_counts()
        self.unshown = None
        self.moved = True
        try:
            yield
        finally:
            self._ours -= 1

    @property
    def busy(self) -> bool:
        """Whether what happens is our doing, or the listener's."""
        return bool(self._ours) or self._telling

    def last_stop(self) -> Stop:
        """Return the stop that ended the body of ``ours``."""
        return self._last or Stop("other")

    # -- gdb's events ----------------------------------------------------------------
    def _on_stop(self, event: Any) -> None:
        stop = self._stop(event)._replace(pinned=self._pinned())
        if stop.signal is not None and stop.thread is not None:
            self._signals.note(stop.thread.tid, stop.signal)
        if self._ours:
            self._last = stop
            return
        # All-stop: where one has stopped, all have.
        self._running.clear()
        if self._catch.armed and stop.signal == STOP_SIGNAL and not stop.pinned:
            self._serve_caught(stop)
        else:
            self._tell_stopped(stop)

    def _serve_caught(self, stop: Stop) -> None:
        """Tell of a stop from within the commands of our catchpoint.

        At its end gdb.execute runs the commands of the breakpoints at which the thread
        stands, but not while it runs such commands already. So the user's, where our steps
        come upon a breakpoint, wait until the listener is done; gdb runs them here then.
        """
        self._caught = stop
        try:
            self._traced = bool(gdb.parameter(TRACE))
            execute(f"set {TRACE} off" if self._traced else "echo")
        except gdb.error as error:
            # The user's commands failed.
            gdb.write(f"{error}\n", gdb.STDERR)
        finally:
            # The catchpoint is gone, or its commands are, or the user's run just now.
            self.serve()

    def serve(self) -> None:
        """Tell of the stop at our catchpoint, once."""
        stop, self._caught = self._caught, None
        if self._traced:
            self._traced = False
            execute(f"set {TRACE} on")
        if stop is not None:
            self._tell_stopped(stop)
            ended = self.unshown or self._last
            if gdb.selected_inferior().pid and (ended is None or not is_silent(ended)):
                # Left out where gdb prints nothing of a stop, or into a string of ours.
                with untraced():
                    gdb.execute("display")

    def _tell_stopped(self, stop: Stop) -> None:
        if self.listener is None or self._telling:
            return
        self.unshown, self.moved, self._last = None, False, None
        self._telling = True
        try:
            try:
                self.listener.stopped(stop)
            except KeyboardInterrupt:
                # Out of gdb itself: what is begun ends here, as at any other stop.
                self.interrupt()
                self.listener.stopped(self.unshown or Stop("other"))
        except PagezapError as error:
            gdb.write(f"pagezap: {error.line()}\n", gdb.STDERR)
        finally:
            # The inferior stands, as was wished.
            self.interrupts.taken()
            self._telling = False
            if self.at_end is not None:
                self.at_end()
            self._show(stop)

    def interrupt(self) -> Stop:
        """Stop here as at a SIGINT, and return this stop."""
        native = gdb.selected_thread()
        thread = thread_of(native) if native is not None else None
        self.unshown = Stop("signal", signal="SIGINT", thread=thread)
        return self.unshown

    def _show(self, stop: Stop) -> None:
        """Show what gdb was kept from showing and is the user's to see."""
        if self.unshown is not None:
            if not is_silent(self.unshown):
                print_stop(self.unshown)
        elif not self.moved and self._catch.armed and stop.signal == STOP_SIGNAL and is_foreign():
            print_stop(stop)

    def _on_cont(self, _event: Any) -> None:
        if self._ours or self._calls or self._telling:
            return
        pids = _running_pids() - self._running
        if not pids:
            return
        self._running |= pids
        self._background = False
        self._signals.forget()
        if self._catch.armed:
            self._catch.arm(resuming=True)
        self._tell("resuming", pids)

    def _on_prompt(self) -> None:
        self._background = bool(self._running) and bool(_running_pids())

    def _pinned(self) -> bool:
        """Return whether gdb would not wait for a step, or not bear it."""
        return bool(self._calls) or self._background

    def _on_call(self, event: Any) -> None:
        """Keep all as the user sees it: what gdb calls must meet no watch.

        In a call nothing can be stepped or resumed, gdb would abort. It may be for the
        condition of a breakpoint, in a step or resume of ours too.
        """
        if isinstance(event, gdb.InferiorCallPreEvent):
            self._calls += 1
            if self._calls == 1:
                self._signals.forget_others(event.ptid[1])
                self._catch.swallow()
                self._tell("calling")
        elif self._calls:
            self._calls -= 1
            if not self._calls:
                self._catch.swallow_no_more()
                if gdb.selected_inferior().pid:
                    self._tell("called")

    def _on_exited(self, event: Any) -> None:
        pid = event.inferior.pid
        code = getattr(event, "exit_code", None)
        self._last = Stop("exited", exit_code=code)
        self._signals.forget()
        # All-stop: where one has ended, all others stand, and gdb tells of no stop of theirs.
        self._running.clear()
        # Detached in a way that no hook sees, by -target-detach, it runs on already. Another
        # than the selected one is the helper's to release, whose owner goes.
        selected = event.inferior.num == gdb.selected_inferior().num
        if selected and pid not in self._released and code is None and procfs.alive(pid):
            self.releasing()
        self._released.discard(pid)
        self._image = None
        self._tell("exited", pid)

    def _on_exiting(self, _event: Any) -> None:
        # By number: gdb drops an ended inferior where another is selected.
        for number in [each.num for each in gdb.inferiors() if each.pid]:
            with contextlib.suppress(gdb.error):
                if number != gdb.selected_inferior().num:
                    with hexadecimal():
                        execute(f"inferior {number:#x}")
                self.releasing(ending=True)

    def _on_new_program(self, _event: Any) -> None:
        """After exec gdb reads symbols anew; also where the user only loads a file."""
        if self._image is None:
            return
        pid, mark = self._image
        if gdb.selected_inferior().pid == pid and image_mark(pid) != mark:
            self._image = None
            self._tell("exited", pid)

    # -- our side --------------------------------------------------------------------
    def releasing(self, *, ending: bool = False) -> None:
        """Tell that the selected inferior is about to be let go."""
        pid = gdb.selected_inferior().pid
        if pid:
            self._released.add(pid)
            self._tell("releasing", ending=ending)

    def watch_image(self) -> None:
        """Notice from here on when the inferior becomes another program by exec."""
        pid = gdb.selected_inferior().pid
        if self._image is None or self._image[0] != pid:
            self._image = (pid, image_mark(pid))

    def _tell(self, what: str, *arguments: object, **options: bool) -> None:
        if self.listener is None:
            return
        try:
            getattr(self.listener, what)(*arguments, **options)
        except PagezapError as error:
            gdb.write(f"pagezap: {error.line()}\n", gdb.STDERR)

    def _stop(self, event: Any) -> Stop:
        native = getattr(event, "inferior_thread", None) or gdb.selected_thread()
        thread = thread_of(native) if native is not None and native.is_valid() else None
        if isinstance(event, gdb.SignalEvent):
            return Stop("signal", signal=event.stop_signal, thread=thread)
        if isinstance(event, gdb.BreakpointEvent):
            numbers = tuple(each.number for each in event.breakpoints)
            if any(self._catch.owns(number) for number in numbers):
                return Stop("signal", signal=STOP_SIGNAL, thread=thread)
            if self._ours:
                # All that lie there are named, also those whose condition is false.
                now = _hit_counts()
                numbers = tuple(
                    number
                    for number in numbers
                    if _has_stopped(self._counts.get(number), now.get(number))
                )
                if not numbers:
                    return Stop("step", thread=thread)
            temporary = any(each.temporary for each in event.breakpoints if each.number in numbers)
            return Stop("breakpoint", thread=thread, breakpoints=numbers, temporary=temporary)
        return Stop("step", thread=thread)


def _hit_counts() -> dict[int, tuple[int, int]]:
    """Return by number how often a breakpoint was hit, and how often more it is ignored."""
    return {each.number: (each.hit_count, each.ignore_count) for each in gdb.breakpoints()}


def _has_stopped(before: tuple[int, int] | None, now: tuple[int, int] | None) -> bool:
    """Return whether a breakpoint counted a hit, and did not ignore it."""
    # It may have ignored some before the one at which it stopped.
    return before is None or now is None or now[0] - before[0] > before[1] - now[1]


def _running_pids() -> set[int]:
    """Return the inferiors with a thread that runs, or is to: gdb has marked it so already."""
    return {
        inferior.pid
        for inferior in gdb.inferiors()
        if inferior.pid and any(each.is_running() for each in inferior.threads())
    }


def image_mark(pid: int) -> bytes:
    """Return bytes that are another program's after an exec, though all else be equal."""
    import struct

    try:
        with open(f"/proc/{procfs.living(pid)}/auxv", "rb") as file:
            auxv = file.read()
        for kind, value in struct.iter_unpack("<QQ", auxv[: len(auxv) & -16]):
            if kind == AT_RANDOM:
                return bytes(gdb.selected_inferior().read_memory(value, 16))
    except (OSError, gdb.error):
        pass
    return b""
