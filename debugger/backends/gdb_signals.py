"""The signal at which a thread stands: what it is, holding it back, giving it back.

gdb keeps one signal a thread, which the thread gets when it is resumed. While we step
the thread for our own ends it must not get it; afterwards it must, with its siginfo.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import gdb

from pagezap.debugger.backends.gdb_execute import execute
from pagezap.debugger.backends.gdb_hooks import define_hook
from pagezap.debugger.backends.gdb_language import assign

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_SIGNAL = "SIGSTOP"
COMMANDS = "silent\npython import pagezap.debugger.backends.gdb_calls as g; g.serve()"
"""Commands of our catchpoint: gdb runs no others' while it runs these."""
SAVE = "Keeps the catchpoint of pagezap out of the file."
SI_QUEUE, SI_TKILL, SI_USER = -1, -6, 0
SAVED = "__pagezap_siginfo"
"""Convenience variable by which a siginfo is put back."""


class Held(NamedTuple):
    """A signal held back from a thread."""

    name: str
    siginfo: Any | None
    more: list[str]
    """Further ones that came meanwhile; gdb keeps one only."""


class Handling(NamedTuple):
    """How gdb treats a signal, and its description."""

    stopped: bool
    printed: bool
    passed: bool
    description: str


def handling(name: str) -> Handling:
    """Return what ``info signals`` says of a signal."""
    with contextlib.suppress(gdb.error):
        found = _handlings(f"info signals {name}")
        if found:
            return next(iter(found.values()))
    return Handling(stopped=True, printed=True, passed=True, description=name)


def _handlings(command: str) -> dict[str, Handling]:
    """Return the signals that a command of gdb's lists."""
    found = {}
    for line in execute(command).splitlines():
        words = re.split(r"\s+", line.strip(), maxsplit=4)
        if len(words) == 5 and words[0].startswith("SIG"):
            stopped, printed, passed = (word == "Yes" for word in words[1:4])
            found[words[0]] = Handling(stopped, printed, passed, words[4])
    return found


@contextlib.contextmanager
def all_stopping() -> Iterator[None]:
    """Let every signal stop a thread in the body, before the thread has it.

    Of those that do not, gdb would run the handler in a step, and stop amid it for another.
    """
    passing: dict[str, list[str]] = {}
    for name, each in _handlings("info signals").items():
        if not each.stopped:
            passing.setdefault("print" if each.printed else "noprint", []).append(name)
    changed = [name for names in passing.values() for name in names]
    if changed:
        execute(f"handle {' '.join(changed)} stop")
    try:
        yield
    finally:
        for printed, names in passing.items():
            execute(f"handle {' '.join(names)} nostop {printed}")


class Signals:
    """The signals at which the stopped threads stand, by tid."""

    def __init__(self) -> None:
        """Know of none: the inferior stopped before we looked."""
        self._at: dict[int, str] = {}

    def note(self, tid: int, name: str) -> None:
        """Hear of the signal at which a thread has stopped."""
        self._at[tid] = name

    def forget(self) -> None:
        """The inferior runs: its threads have got their signals."""
        self._at.clear()

    def forget_others(self, tid: int) -> None:
        """All threads run; gdb gives this one back what it stood at."""
        self._at = {each: name for each, name in self._at.items() if each == tid}

    def forget_one(self, tid: int) -> None:
        """One thread runs."""
        self._at.pop(tid, None)

    def discard(self, tid: int) -> None:
        """The selected thread, ``tid``, is not to get its signal."""
        self._at.pop(tid, None)
        execute("queue-signal 0")

    def hold(self, tid: int, held: Held | None) -> Held | None:
        """Take the selected thread's signal into ``held``, which may have one already."""
        name = self._at.get(tid)
        if name is None:
            return held
        if name == STOP_SIGNAL and not is_foreign():
            # Ours or gdb's own, and told of already.
            self.discard(tid)
            return held
        siginfo = None
        if held is None:
            with contextlib.suppress(gdb.error):
                siginfo = gdb.parse_and_eval("$_siginfo")
                siginfo.fetch_lazy()
        self.discard(tid)
        if held is None:
            return Held(name, siginfo, [])
        held.more.append(name)
        return held

    def release(self, pid: int, tid: int, held: Held | None) -> None:
        """Let the selected thread have the held signal when it is resumed."""
        if held is None:
            return
        with contextlib.suppress(gdb.error):
            # Refused where the program is not to get it: then there is nothing to keep.
            execute(f"queue-signal {held.name}")
            if held.siginfo is not None:
                gdb.set_convenience_variable(SAVED, held.siginfo)
                assign("$_siginfo", f"${SAVED}")
        self._at[tid] = held.name
        for name in held.more:
            # A Ctrl-C for one, which gdb lets nobody have.
            if handling(name).passed:
                _send(pid, tid, name)


def _send(pid: int, tid: int, name: str) -> None:
    """Send a signal again that gdb has no place for."""
    import ctypes
    import os
    import signal

    if os.uname().machine == "x86_64" and hasattr(signal, name):
        tgkill = 234
        ctypes.CDLL(None).syscall(tgkill, pid, tid, int(getattr(signal, name)))


def is_foreign() -> bool:
    """Return whether a third process sent the signal at which the selected thread stands."""
    import os

    try:
        info = gdb.parse_and_eval("$_siginfo")
        code = int(info["si_code"])
        sender = int(info["_sifields"]["_kill"]["si_pid"])
    except (gdb.error, KeyError):
        return False
    if code == SI_QUEUE:
        return False
    return not (code in {SI_TKILL, SI_USER} and sender in {0, os.getpid()})


class StopCatch:
    """A catchpoint that keeps gdb from printing the helper's SIGSTOPs."""

    def __init__(self) -> None:
        """Not armed."""
        self._breakpoint: Any | None = None
        self._usual: Handling | None = None
        """How gdb treats SIGSTOP where it is swallowed just now."""

    @property
    def armed(self) -> bool:
        """Whether it is wanted, be it there or deleted by the user."""
        return self._breakpoint is not None

    def arm(self, *, resuming: bool = False) -> None:
        """Make it, or make it again where the user has deleted it."""
        if self._breakpoint is not None and self._breakpoint.is_valid():
            if not self._breakpoint.enabled:
                self._breakpoint.enabled = True
            return
        define_hook("save breakpoints", "about_to_save()", SAVE)
        before = {each.number for each in gdb.breakpoints()}
        last = _convenience("bpnum")
        command = f"catch signal {STOP_SIGNAL}"
        if not resuming:
            # Over MI gdb 18 would print what it has made; amid a resume it would prompt.
            command = f'interpreter-exec console "{command}"'
        execute(command)
        made = [each for each in gdb.breakpoints() if each.number not in before]
        self._breakpoint = made[0]
        self._breakpoint.commands = COMMANDS
        # $bpnum stays what the user's last breakpoint made it.
        gdb.set_convenience_variable("bpnum", last)

    def step_aside(self) -> None:
        """Delete it until the next resume makes it again; it stays wanted."""
        if self._breakpoint is not None and self._breakpoint.is_valid():
            self._breakpoint.delete()

    def disarm(self) -> None:
        """Remove it."""
        breakpoint_, self._breakpoint = self._breakpoint, None
        if breakpoint_ is not None and breakpoint_.is_valid():
            breakpoint_.delete()

    def swallow(self) -> None:
        """Let SIGSTOPs stop nothing and have no effect, where it is wanted.

        One that is on its way to a thread would end the function that gdb calls.
        """
        if self._breakpoint is None or self._usual is not None:
            return
        self._usual = handling(STOP_SIGNAL)
        if self._breakpoint.is_valid():
            self._breakpoint.enabled = False
        execute(f"handle {STOP_SIGNAL} nostop noprint nopass")

    def swallow_no_more(self) -> None:
        """Undo ``swallow``."""
        usual, self._usual = self._usual, None
        if usual is None:
            return
        words = [
            "stop" if usual.stopped else "nostop",
            "print" if usual.printed else "noprint",
            "pass" if usual.passed else "nopass",
        ]
        execute(f"handle {STOP_SIGNAL} {' '.join(words)}")
        if self._breakpoint is not None and self._breakpoint.is_valid():
            self._breakpoint.enabled = True

    def owns(self, number: int) -> bool:
        """Whether it has that breakpoint number."""
        made = self._breakpoint
        return made is not None and made.is_valid() and made.number == number


def _convenience(name: str) -> Any:
    return gdb.convenience_variable(name)
