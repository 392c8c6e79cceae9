"""Ctrl-C while Python works on a stop or a resume: a wish to stop, not an error amid the work.

Two things would make an error of it. Each call of gdb's that Python makes looks for it and
raises KeyboardInterrupt: so the signal is blocked meanwhile, and asked for. Where it comes
just before that or after, Python's handler raises: so ours notes it there instead.
"""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Any

import gdb

from pagezap.debugger.backends.gdb_execute import execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import CodeType, FrameType

CTRL_C = frozenset({signal.SIGINT})
SIGACTION_ROOM = 256
"""Bytes that hold libc's struct sigaction, whatever the architecture."""


class Interrupts:
    """Keeps Ctrl-C from our work, and remembers that it was typed."""

    def __init__(self) -> None:
        """Note nothing before ``begin``."""
        self._begun = False
        self._noted = False
        self._guards: set[CodeType] = set()

    def begin(self) -> None:
        """Be asked from here on before Python raises KeyboardInterrupt."""
        if self._begun:
            return
        self._begun = True
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            _set_python_handler(self._on_sigint)

    def guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Return the callback of an event so that Ctrl-C does not break it off.

        Where the inferior runs at its end, it is interrupted.
        """

        def guarded(*event: Any) -> None:
            with _masked(signal.SIG_BLOCK):
                try:
                    callback(*event)
                finally:
                    if self._waits():
                        self._note()

        self._guards.add(guarded.__code__)
        return guarded

    @staticmethod
    def passed_on() -> AbstractContextManager[None]:
        """Let gdb have Ctrl-C in the body, amid what is guarded: there the inferior runs."""
        return _masked(signal.SIG_UNBLOCK)

    @staticmethod
    def put_off() -> AbstractContextManager[None]:
        """Keep Ctrl-C from the body of a command; its end raises KeyboardInterrupt then."""
        return _masked(signal.SIG_BLOCK)

    def taken(self) -> bool:
        """Return whether Ctrl-C was typed amid what is guarded, once."""
        noted = self._waits() or self._noted
        self._noted = False
        return noted

    @staticmethod
    def _waits() -> bool:
        return signal.sigtimedwait(CTRL_C, 0) is not None

    def _on_sigint(self, number: int, frame: FrameType | None) -> None:
        """Python's handler, which runs between two steps of ``frame``."""
        outer = frame
        while outer is not None:
            if outer.f_code in self._guards:
                self._note()
                return
            outer = outer.f_back
        signal.default_int_handler(number, frame)

    def _note(self) -> None:
        self._noted = True
        gdb.post_event(self._interrupt)

    def _interrupt(self) -> None:
        """Interrupt the inferior where it runs, as gdb does where it sees Ctrl-C itself."""
        if self.taken() and any(each.is_running() for each in gdb.selected_inferior().threads()):
            execute("interrupt")


@contextlib.contextmanager
def _masked(how: int) -> Iterator[None]:
    mask = signal.pthread_sigmask(how, CTRL_C)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _set_python_handler(handler: Any) -> None:
    """Set what Python does at SIGINT; the handler of gdb's own stays.

    ``signal.signal`` puts Python's in its place, which gdb 18 does not undo: no attached
    program could be interrupted any more.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    native = ctypes.create_string_buffer(SIGACTION_ROOM)
    libc.sigaction(signal.SIGINT, None, native)
    signal.signal(signal.SIGINT, handler)
    libc.sigaction(signal.SIGINT, native, None)
