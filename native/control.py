"""The client of the helper's control socket (docs/control-protocol.md)."""

from __future__ import annotations

import errno as errno_module
import os
import socket
import struct
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from pagezap.native import wire
from pagezap.native.wire import (
    Fill,
    Hello,
    Hide,
    Keep,
    Op,
    RawHit,
    Refault,
    Run,
    State,
    Status,
    TracePart,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagezap.native.wire import Event

TIMEOUT_S: Final = 120.0


class ControlError(OSError):
    """The helper refused an operation, or is not there.

    ``errno`` is its number; ECONNRESET where the helper went away.
    """

    def __init__(self, errno: int, op: str) -> None:
        """Name the operation and the reason."""
        super().__init__(errno, os.strerror(errno))
        self.op = op


class HelperGoneError(ControlError):
    """The helper cannot be reached."""


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[19])


def socket_names(pid: int) -> list[str]:
    """The abstract names a helper of this process may have: ours, then root's."""
    started = start_time(pid)
    uids = dict.fromkeys((os.getuid(), 0))
    return [f"\0pagezap-{uid}-{pid}-{started}" for uid in uids]


class Client:
    """A connection to the helper of one inferior. Not for several threads at once."""

    def __init__(self, connection: socket.socket, *, owner: bool = False) -> None:
        """Say hello over a connected socket."""
        self._socket = connection
        self._sequence = 0
        try:
            reply = self._call(Op.HELLO, struct.pack("<II", int(owner), 0))
        except ControlError:
            connection.close()
            raise
        self.hello = Hello(*wire.HELLO.unpack(reply)[:6])

    @classmethod
    def connect(cls, pid: int, *, owner: bool = False) -> Client:
        """Connect to the helper of a process; HelperGoneError where there is none."""
        reason = errno_module.ECONNREFUSED
        try:
            names = socket_names(pid)
        except OSError:
            raise HelperGoneError(errno_module.ESRCH, "connect") from None
        for name in names:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            connection.settimeout(TIMEOUT_S)
            try:
                connection.connect(name)
            except OSError as error:
                reason = error.errno or reason
                connection.close()
                continue
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            if struct.unpack("iII", peer)[1] not in (os.getuid(), 0):
                connection.close()
                reason = errno_module.EPERM
                continue
            return cls(connection, owner=owner)
        raise HelperGoneError(reason, "connect")

    def fileno(self) -> int:
        """The socket's descriptor; readable where the helper went away."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection; the helper of an owner releases everything."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Close it at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _call(self, op: Op, payload: bytes = b"", fd: int | None = None) -> bytes:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        header = wire.HEADER.pack(wire.PROTOCOL, op, len(payload), self._sequence, 0)
        ancillary = []
        if fd is not None:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))]
        try:
            self._socket.sendmsg([header + payload], ancillary)
            while True:
                packet = self._socket.recv(wire.PACKET_MAX)
                if not packet:
                    raise HelperGoneError(errno_module.ECONNRESET, op.name)
                _, answered, length, sequence, status = wire.HEADER.unpack_from(packet)
                # A late answer to a call that timed out is not ours.
                if answered == op and sequence == self._sequence:
                    break
        except TimeoutError:
            raise HelperGoneError(errno_module.ETIMEDOUT, op.name) from None
        except OSError as error:
            raise HelperGoneError(error.errno or errno_module.EIO, op.name) from None
        if status < 0:
            raise ControlError(-status, op.name)
        return packet[wire.HEADER.size : wire.HEADER.size + length]

    def status(self) -> Status:
        """Read the counters."""
        numbers = wire.STATUS.unpack(self._call(Op.STATUS))
        return replace(Status(*numbers), shown=bool(numbers[-2]))

    def keep(self, start: int, length: int) -> Keep:
        """Take pages away and hold their contents."""
        reply = self._call(Op.KEEP, struct.pack("<QQII", start, length, 0, 0))
        pages, kept, skipped, unpopulated, reason, _ = struct.unpack("<4QiI", reply)
        return Keep(pages, kept, skipped, unpopulated, -reason)

    def refault(self, start: int = 0, length: int = 0) -> Refault:
        """Bring pages back; without a range, all."""
        return Refault(*struct.unpack("<4Q", self._call(Op.REFAULT, _range(start, length))))

    def fill_byte(self, start: int, length: int, byte: int = 0) -> Fill:
        """Drop pages; the next access finds them full of one byte."""
        payload = struct.pack("<QQIIQ", start, length, 1 if byte else 0, byte, 0)
        return Fill(*struct.unpack("<QQ", self._call(Op.FILL, payload)))

    def fill_file(self, start: int, length: int, fd: int, offset: int = 0) -> Fill:
        """Drop pages; the next access finds a file's content, zeros beyond its end."""
        payload = struct.pack("<QQIIQ", start, length, 2, 0, offset)
        return Fill(*struct.unpack("<QQ", self._call(Op.FILL, payload, fd)))

    def watch_add(
        self, watch: int, start: int, length: int, *, trace: bool = False, write_only: bool = False
    ) -> int:
        """Watch bytes; answers the number of pages."""
        flags = int(trace) | int(write_only) << 1
        reply = self._call(Op.WATCH_ADD, struct.pack("<IIQQ", watch, flags, start, length))
        pages: int = struct.unpack("<Q", reply)[0]
        return pages

    def watch_delete(self, watch: int) -> None:
        """Forget a watch."""
        self._call(Op.WATCH_DELETE, struct.pack("<II", watch, 0))

    def watch_enable(self, watch: int, enabled: bool) -> None:
        """Enable or disable a watch."""
        self._call(Op.WATCH_ENABLE, struct.pack("<II", watch, int(enabled)))

    def watch_counts(self) -> dict[int, int]:
        """Return how many accesses each watch recorded without a stop, by its number."""
        reply = self._call(Op.WATCH_COUNTS)
        count = struct.unpack_from("<I", reply)[0]
        return {
            watch: hits for watch, _, hits in struct.iter_unpack("<IIQ", reply[8:][: 16 * count])
        }

    def hit_take(self, tid: int, *, step: bool = False) -> RawHit | None:
        """Take the hit that stopped a thread, or None.

        With ``step`` the page of a user-mode hit is open until ``hit_done``.
        """
        try:
            reply = self._call(Op.HIT_TAKE, struct.pack("<II", tid, int(step)))
        except HelperGoneError:
            raise
        except ControlError as error:
            if error.errno == errno_module.ENOENT:
                return None
            raise
        watch, owner, flags, call, address, pc, time_us, old, count = wire.HIT.unpack_from(reply)
        return RawHit(
            watch=watch,
            tid=owner,
            kernel=bool(flags & 1),
            write=bool(flags & 2),
            missing=bool(flags & 4),
            syscall=call,
            address=address,
            pc=pc,
            time_us=time_us,
            syscall_count=count,
            old=reply[wire.HIT.size : wire.HIT.size + old],
        )

    def show(self) -> None:
        """Make everything present and writable, for the debugger to look."""
        self._call(Op.SHOW)

    def calling(self) -> None:
        """Let a function of the inferior run while everything stays shown; SHOW ends it."""
        self._call(Op.CALLING)

    def hide(self) -> Hide:
        """End SHOW; arm what was opened again."""
        return Hide(*struct.unpack("<QQ", self._call(Op.HIDE)))

    def trace_read(self, first: int = 0, maximum: int = 1000) -> TracePart:
        """Read recorded accesses from a position on."""
        reply = self._call(Op.TRACE_READ, struct.pack("<QII", first, maximum, 0))
        following, dropped, count, _ = struct.unpack_from("<QQII", reply)
        events = [wire.event(reply, 24 + i * wire.EVENT.size) for i in range(count)]
        return TracePart(events, following, dropped)

    def trace(self) -> Iterator[Event]:
        """All recorded accesses, oldest first."""
        at = 0
        while part := self.trace_read(at):
            if not part.events:
                return
            yield from part.events
            at = part.next

    def hit_done(self, event: Event | None, *, show: bool) -> None:
        """End the step of a hit; record it; with ``show`` open everything to the debugger."""
        flags = int(event is not None) | int(show) << 1
        self._call(
            Op.HIT_DONE, struct.pack("<II", flags, 0) + (event.pack() if event else bytes(64))
        )

    def trace_clear(self) -> None:
        """Forget the recorded accesses; the counts of the watches go on."""
        self._call(Op.TRACE_CLEAR)

    def ledger(self, start: int = 0, length: int = 0) -> list[Run]:
        """The pages we know something of; without a range, all."""
        runs: list[Run] = []
        cursor = 0
        while True:
            reply = self._call(Op.LEDGER_READ, _range(start, length) + struct.pack("<Q", cursor))
            cursor, count, _ = struct.unpack_from("<QII", reply)
            for i in range(count):
                at, size, state, flags = wire.RUN.unpack_from(reply, 16 + i * wire.RUN.size)
                runs.append(Run(at, size, State(state), bool(flags & 1)))
            if not cursor:
                return runs

    def advise(self, start: int, length: int, advice: int) -> int:
        """madvise(2) in the inferior's mm: 0 or -errno."""
        reply = self._call(Op.ADVISE, struct.pack("<QQiI", start, length, advice, 0))
        result: int = struct.unpack("<q", reply)[0]
        return result

    def own(self) -> list[tuple[int, int]]:
        """The helper's own mappings in the inferior, (start, length) in bytes: its stashes."""
        found: list[tuple[int, int]] = []
        cursor = 0
        while True:
            data = self._call(Op.OWN, struct.pack("<Q", cursor))
            found.extend(struct.iter_unpack("<QQ", data[16:]))
            cursor = struct.unpack_from("<Q", data)[0]
            if not cursor:
                return found

    def release(self) -> int:
        """Bring everything back and end the helper; answers the pages brought back."""
        refaulted: int = struct.unpack("<Q", self._call(Op.RELEASE))[0]
        return refaulted

    def detaching(self, on: bool) -> None:
        """Stop (or resume) signalling; waiting faults are resolved."""
        self._call(Op.DETACHING, struct.pack("<II", int(on), 0))


def _range(start: int, length: int) -> bytes:
    return struct.pack("<QQ", start, length)
