"""What is said over the helper's control socket: docs/control-protocol.md in Python."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

PROTOCOL: Final = 1
PACKET_MAX: Final = 65536

HEADER: Final = struct.Struct("<HHIIi")
HELLO: Final = struct.Struct("<IIIIQII")
STATUS: Final = struct.Struct("<20QII")
HIT: Final = struct.Struct("<IIIiQQQII")
EVENT: Final = struct.Struct("<QQQIIIiBBBBIQQ")
RUN: Final = struct.Struct("<QQII")


class Op(IntEnum):
    """The operations."""

    HELLO = 1
    STATUS = 2
    KEEP = 3
    REFAULT = 4
    FILL = 5
    WATCH_ADD = 6
    WATCH_DELETE = 7
    WATCH_ENABLE = 8
    HIT_TAKE = 9
    HIT_DONE = 10
    WATCH_COUNTS = 11
    SHOW = 12
    HIDE = 13
    TRACE_READ = 14
    TRACE_CLEAR = 15
    LEDGER_READ = 16
    ADVISE = 17
    RELEASE = 18
    DETACHING = 19
    CALLING = 20
    OWN = 21


class State(IntEnum):
    """The states of a page in the ledger."""

    STASH = 1
    STORE = 2
    FILL = 3
    ZAPPED = 4


class Access(IntEnum):
    """What an access did."""

    UNKNOWN = 0
    READ = 1
    WRITE = 2


class By(IntEnum):
    """Who made an access."""

    INFERIOR = 0
    DEBUGGER = 1
    OTHER = 2


@dataclass(frozen=True)
class Hello:
    """Who answers, and what works."""

    protocol: int
    helper_pid: int
    inferior_pid: int
    agent_pid: int
    uffd_features: int
    flags: int

    @property
    def can_move(self) -> bool:
        """Pages are kept by UFFDIO_MOVE."""
        return bool(self.flags & 1)

    @property
    def can_write_protect(self) -> bool:
        """Watches work."""
        return bool(self.flags & 2)

    @property
    def move_disabled(self) -> bool:
        """The helper was started with --no-move."""
        return bool(self.flags & 4)


@dataclass(frozen=True)
class Status:
    """The helper's counters."""

    uptime_us: int
    rss_kib: int
    kept_stash: int
    kept_store: int
    filled: int
    zapped: int
    store_bytes: int
    faults: int
    served_missing: int
    served_wp: int
    hits: int
    signals: int
    forks: int
    removes: int
    unmaps: int
    remaps: int
    trace_events: int
    trace_dropped: int
    managed_pages: int
    watched_pages: int
    shown: bool
    stepping_tid: int


@dataclass(frozen=True)
class Keep:
    """What KEEP did; ``reason`` is the errno of the last page it skipped, or 0."""

    pages: int
    kept: int
    skipped: int
    unpopulated: int
    reason: int


@dataclass(frozen=True)
class Refault:
    """What REFAULT did."""

    pages: int
    refaulted: int
    already_resident: int
    unpopulated: int


@dataclass(frozen=True)
class Fill:
    """What FILL did."""

    pages: int
    dropped: int


@dataclass(frozen=True)
class Hide:
    """What HIDE did; ``lost`` pages stay resident."""

    taken: int
    lost: int


@dataclass(frozen=True)
class RawHit:
    """A stop of one thread as the helper saw it; ``syscall`` is -1 in user mode."""

    watch: int
    tid: int
    kernel: bool
    write: bool
    missing: bool
    syscall: int
    address: int
    pc: int
    time_us: int
    syscall_count: int
    old: bytes


@dataclass(frozen=True)
class Event:
    """A recorded access."""

    time_us: int
    address: int
    pc: int
    watch: int
    pid: int
    tid: int
    syscall: int | None
    access: Access
    by: By
    stopped: bool

    def pack(self) -> bytes:
        """Return the 64 bytes of the protocol."""
        call = -1 if self.syscall is None else self.syscall
        head = (self.time_us, self.address, self.pc, self.watch, self.pid, self.tid, call)
        return EVENT.pack(*head, self.access, self.by, int(self.stopped), 0, 0, 0, 0)


@dataclass(frozen=True)
class TracePart:
    """A stretch of the trace; ``next`` is where to go on reading."""

    events: list[Event]
    next: int
    dropped: int


@dataclass(frozen=True)
class Run:
    """Pages of one state in a row."""

    start: int
    length: int
    state: State
    shown: bool


def event(data: bytes, at: int) -> Event:
    """Return the event at an offset of an answer."""
    time_us, address, pc, watch, pid, tid, call, access, by, stopped, *_ = EVENT.unpack_from(
        data, at
    )
    return Event(
        time_us,
        address,
        pc,
        watch,
        pid,
        tid,
        None if call < 0 else call,
        Access(access),
        By(by),
        bool(stopped),
    )
