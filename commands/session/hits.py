"""What to do when a thread stands at a watched page.

The helper stops a thread with SIGSTOP *before* its access (user mode), or after a
system call that wrote (kernel mode). Here the access is let through alone, with
every other thread held; the bytes before and after are compared, and it is decided
whether the user hears of it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from pagezap.debugger.errors import PagezapError, RangeError
from pagezap.native.wire import Access, By, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.session.watches import Watch, WatchTable
    from pagezap.debugger.api import Debugger, Location, Stop, Thread
    from pagezap.debugger.arch import Arch
    from pagezap.native.control import Client
    from pagezap.native.wire import RawHit

PAGE = 4096
HANDLERS = 8
"""One within another that may have been entered at the end of a call."""
GUESS_WINDOW = 64
"""Bytes compared where the instruction does not tell how wide its write is: the
widest store of x86-64."""


class Hit(NamedTuple):
    """One access to watched memory, as it is shown."""

    watch: int
    address: int
    access: str
    thread: Thread
    pc: int
    """The instruction that made the access, or the one after the system call."""
    location: Location
    old: bytes
    new: bytes
    syscall: str | None
    text: str
    """The watched range as the user wrote it."""
    also: Sequence[int] = ()
    """Other watches that the same access hit."""


class Write(NamedTuple):
    """What a write did: where it began and the bytes there before and after."""

    address: int
    old: bytes
    new: bytes


class HitLog:
    """The hits that stopped the inferior; ``last`` is the one it stands at."""

    def __init__(self) -> None:
        """Start with no hit."""
        self.last: Hit | None = None
        self.count = 0

    def note(self, hit: Hit) -> None:
        """Remember a hit as the one the inferior stands at."""
        self.last = hit
        self.count += 1

    def forget(self) -> None:
        """Forget the last hit: the inferior has moved on."""
        self.last = None


def changed_extent(old: bytes, new: bytes) -> tuple[int, int] | None:
    """Return (offset, length) of the smallest run holding every changed byte."""
    if old == new:
        return None
    length = min(len(old), len(new))
    first = next((i for i in range(length) if old[i] != new[i]), length)
    last = next((i for i in range(length - 1, -1, -1) if old[i] != new[i]), first)
    return first, last - first + 1


class HitHandler:
    """Carries a thread over the access it stands at and judges it."""

    def __init__(
        self, debugger: Debugger, arch: Arch, client: Client, watches: WatchTable, log: HitLog
    ) -> None:
        """Serve the hits of one session."""
        self._debugger = debugger
        self._arch = arch
        self._client = client
        self._watches = watches
        self._log = log
        self._interrupted: Stop | None = None
        """Set where the step over an access ended for another reason."""

    def handle(self, stop: Stop) -> Stop:
        """Carry on from ``stop`` until there is one the user should see; return that.

        Accesses that no watch reports are let through and the inferior goes on. At a hit
        that is reported the helper shows everything to the debugger already.
        """
        self._log.forget()
        if stop.pinned:
            self._leave(stop)
            return stop
        while stop.reason == "signal" and stop.signal == "SIGSTOP" and stop.thread is not None:
            raw = self._client.hit_take(stop.thread.tid, step=True)
            if raw is None:
                if self._debugger.signal_is_foreign():
                    return stop
                self._debugger.discard_signal()
            else:
                self._debugger.discard_signal()
                hit = self._judge(stop.thread, raw)
                if hit is not None:
                    self._log.note(hit)
                    self._interrupted = None
                    return stop
            stop = self._go_on()
        if stop.reason != "exited" and stop.thread is not None:
            self._catch_up(stop.thread)
        return stop

    def _leave(self, stop: Stop) -> None:
        """Leave a thread before its access, which comes again when the user goes on."""
        if stop.thread is None:
            return
        signalled = stop.signal == "SIGSTOP"
        foreign = signalled and self._debugger.signal_is_foreign()
        self._catch_up(stop.thread)
        if signalled and not foreign:
            self._debugger.discard_signal()
            if self._log.last is None:
                self._debugger.write(
                    f"\npagezap: thread {stop.thread.number} stands before a write to a watched "
                    "page; continue, not in the background, carries it over\n"
                )
                self._debugger.print_frame()

    def _go_on(self) -> Stop:
        """Return the stop that came in the step over an access, or the next one."""
        interrupted, self._interrupted = self._interrupted, None
        return interrupted or self._debugger.resume_silently()

    def _catch_up(self, thread: Thread) -> None:
        """Report the system call that a thread made just before it stopped for another reason.

        An access that it has not made yet comes again when it goes on.
        """
        raw = self._client.hit_take(thread.tid)
        if raw is not None and raw.kernel:
            hit = self._judge(thread, raw)
            if hit is not None:
                self._log.note(hit)

    def _judge(self, thread: Thread, raw: RawHit) -> Hit | None:
        """Let the access through, if it waits, and return it where it is to be reported."""
        hit, event = None, None
        try:
            if raw.kernel and raw.syscall < 0:
                raw = self._name_call(raw)
            pc = raw.pc
            write: Write | None
            if raw.kernel:
                write = self._kernel_write(raw)
            else:
                pc = self._debugger.read_registers([self._arch.pc])[self._arch.pc]
                write = self._step_over(raw, pc)
                if write is not None and pc != raw.pc and write.old == write.new:
                    # It stood in a signal's handler that came before, not in a copy of the
                    # instruction by which gdb steps past a breakpoint: the access comes again.
                    write = None
            touched = self._touched(thread, write) if write is not None else []
            if write is not None and touched:
                reported = [watch for watch in touched if self._counts(watch, write)]
                first = (reported or touched)[0]
                event = self._event(thread, raw, first, write, pc, stopped=bool(reported))
                if reported:
                    hit = self._hit(thread, raw, reported, write, pc)
        finally:
            self._client.hit_done(event, show=hit is not None)
        if hit is not None:
            for number in (hit.watch, *hit.also):
                if self._watches.get(number).temporary:
                    self._watches.delete(number)
        return hit

    def _name_call(self, raw: RawHit) -> RawHit:
        """Name a call in which the helper never saw its thread asleep: it has just returned.

        It may stand at the start of a handler, whose signal came at the end of the call.
        """
        from dataclasses import replace

        arch = self._arch
        there = self._debugger.read_registers([arch.pc, arch.call_register, arch.stack_register])
        pc, number, stack = there[arch.pc], there[arch.call_register], there[arch.stack_register]
        length = len(arch.syscall_instruction)
        with suppress(RangeError):
            for _ in range(HANDLERS):
                if self._read(pc - length, length) == arch.syscall_instruction:
                    known = number < arch.most_syscalls
                    return replace(raw, pc=pc, syscall=number if known else -1)
                way_back = self._word(stack)
                if self._read(way_back, len(arch.sigreturn_code)) != arch.sigreturn_code:
                    break
                pc, stack = (self._word(stack + offset) for offset in arch.signal_frame)
        return replace(raw, pc=there[arch.pc], syscall=-1)

    def _word(self, address: int) -> int:
        return int.from_bytes(self._read(address, 8), sys.byteorder)

    def _kernel_write(self, raw: RawHit) -> Write:
        """Compare the bytes kept from before the system call with what is there now."""
        new = self._read(raw.address, len(raw.old))
        extent = changed_extent(raw.old, new)
        # The call begins to write at the fault's address; what it left equal at the end
        # cannot be told from what it did not reach.
        length = extent[0] + extent[1] if extent else min(8, len(new))
        return Write(raw.address, raw.old[:length], new[:length])

    def _step_over(self, raw: RawHit, pc: int) -> Write | None:
        """Let the one instruction through, all other threads held; None if it did not run."""
        code = self._read(pc, self._arch.longest_instruction)
        width = self._arch.store_width(code)
        window = width or GUESS_WINDOW
        lead = self._lead(raw.address, width)
        before = self._before(raw.address, window)
        step = self._debugger.step_instruction()
        after = self._read(raw.address, window)
        before = before[: len(after)]
        if step.reason != "step":
            self._interrupted = step
        now = self._debugger.read_registers([self._arch.pc])[self._arch.pc]
        unmoved = step.reason != "step" and now == pc
        if unmoved or not self._arch.executed(code, pc, now):
            # A signal came first: the access is made, and stopped at, after its handler.
            return None
        if width and self._lead(raw.address, width) == lead:
            return Write(raw.address, before, after)
        # The width is not known, or the access began on the page before: then what changed
        # tells where it ended.
        extent = changed_extent(before, after)
        length = extent[0] + extent[1] if extent else min(len(after), width or 8)
        return Write(raw.address, before[:length], after[:length])

    def _before(self, address: int, length: int) -> bytes:
        """Read what an access may write to, where it runs into an empty page: that is zeros."""
        found = self._read(address, length)
        if len(found) < length:
            page = address + len(found)
            if not self._client.ledger(page, PAGE):
                found += bytes(length - len(found))
        return found

    def _lead(self, address: int, width: int | None) -> bytes:
        """Return the bytes before a page's first, where an access may have begun.

        The fault of an access that comes over from an unwatched page names the page's start.
        """
        if not width or width == 1 or address % PAGE:
            return b""
        try:
            return self._debugger.read_memory(address - width + 1, width - 1)
        except RangeError:
            return b""

    def _touched(self, thread: Thread, write: Write) -> list[Watch]:
        """Return the watches whose bytes the write touches, by a thread that counts."""
        return [
            watch
            for watch in self._watches.stopping()
            if watch.overlaps(write.address, max(1, len(write.new)))
            and (watch.thread is None or watch.thread == thread.number)
        ]

    def _event(
        self, thread: Thread, raw: RawHit, watch: Watch, write: Write, pc: int, *, stopped: bool
    ) -> Event:
        return Event(
            time_us=monotonic_ns() // 1000,
            address=write.address,
            pc=pc,
            watch=watch.id,
            pid=self._client.hello.inferior_pid,
            tid=thread.tid,
            syscall=raw.syscall if raw.syscall >= 0 else None,
            access=Access.WRITE,
            by=By.INFERIOR,
            stopped=stopped,
        )

    def _hit(
        self, thread: Thread, raw: RawHit, reported: Sequence[Watch], write: Write, pc: int
    ) -> Hit:
        return Hit(
            watch=reported[0].id,
            address=write.address,
            access="write",
            thread=thread,
            pc=pc,
            location=self._debugger.locate(pc),
            old=write.old,
            new=write.new,
            syscall=None if raw.syscall < 0 else self._arch.syscall_name(raw.syscall),
            text=reported[0].text,
            also=tuple(watch.id for watch in reported[1:]),
        )

    def _counts(self, watch: Watch, write: Write) -> bool:
        """Apply condition and ignore count, in gdb's order; True where it is reported."""
        self._debugger.set_convenience("_uffd_watch", watch.id)
        self._debugger.set_convenience("_uffd_addr", write.address)
        if watch.condition is not None:
            try:
                if not self._debugger.is_true(watch.condition):
                    return False
            except PagezapError as error:
                # As gdb does for its own: an unevaluable condition stops, and says so.
                self._debugger.write(
                    f"Error in testing condition for uffd watchpoint {watch.id}:\n{error.message}\n"
                )
        watch.hits += 1
        if watch.ignore > 0:
            watch.ignore -= 1
            return False
        return True

    def _read(self, address: int, length: int) -> bytes:
        """Read up to ``length`` bytes; fewer where the mapping ends."""
        try:
            return self._debugger.read_memory(address, length)
        except RangeError:
            inside = PAGE - address % PAGE
            if inside < length:
                return self._debugger.read_memory(address, inside)
            raise
