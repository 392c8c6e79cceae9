"""What the helper has recorded, as JSON has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.debugger.api import Debugger
    from pagezap.debugger.arch import Arch
    from pagezap.native.control import Client
    from pagezap.native.wire import Event

ACCESSES = ("unknown", "read", "write")
ACTORS = ("inferior", "debugger", "other-process")
BATCH = 900
"""Events of 64 bytes that one packet of 65,536 takes, with room to spare."""


class Trace(NamedTuple):
    """Recorded accesses, in the order of their time."""

    events: Sequence[dict[str, object]] = ()
    dropped: int = 0
    """How many more there were, for which the helper had no room."""


def read(client: Client, arch: Arch, debugger: Debugger | None) -> Trace:
    """Return every recorded access; ``debugger`` names where it was made, None leaves that out."""
    symbols: dict[int, str | None] = {}
    events: list[dict[str, object]] = []
    first, dropped = 0, 0
    while True:
        part = client.trace_read(first, BATCH)
        dropped += part.dropped
        if not part.events:
            return Trace(events, dropped)
        for event in part.events:
            if debugger is not None and event.pc not in symbols:
                symbols[event.pc] = debugger.locate(event.pc).symbol()
            call = None if event.syscall is None else arch.syscall_name(event.syscall)
            events.append(_body(event, symbols.get(event.pc), call))
        first = part.next


def _body(event: Event, symbol: str | None, syscall: str | None) -> dict[str, object]:
    return {
        "time_us": event.time_us,
        "watch": event.watch,
        "address": event.address,
        "access": ACCESSES[event.access],
        "pid": event.pid,
        "tid": event.tid,
        "pc": event.pc,
        "symbol": symbol,
        "syscall": syscall,
        "by": ACTORS[event.by],
        "stopped": event.stopped,
    }
