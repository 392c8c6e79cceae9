"""Where the inferior stands, as data for what drives the debugger from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.debugger.errors import PagezapError

if TYPE_CHECKING:
    from pagezap.commands.session.context import Context
    from pagezap.commands.session.hits import Hit


def hit_body(hit: Hit) -> dict[str, object]:
    """Return a hit as JSON shows it; old and new content in hex."""
    return {
        "reason": "uffd-watch",
        "watch": hit.watch,
        "also": list(hit.also),
        "address": hit.address,
        "access": hit.access,
        "tid": hit.thread.tid,
        "thread": hit.thread.number,
        "pc": hit.pc,
        "symbol": hit.location.symbol(),
        "file": hit.location.file,
        "line": hit.location.line,
        "syscall": hit.syscall,
        "old": hit.old.hex(),
        "new": hit.new.hex(),
    }


def place_body(context: Context) -> dict[str, object]:
    """Return where the selected thread stands, ``{}`` where there is no process."""
    from pagezap.debugger.arch import for_machine

    debugger = context.debugger
    try:
        thread = debugger.selected_thread()
        register = for_machine(debugger.inferior().machine).pc
        pc = debugger.read_registers([register])[register]
    except PagezapError:
        return {}
    return {
        "tid": thread.tid,
        "thread": thread.number,
        "pc": pc,
        "symbol": debugger.locate(pc).symbol(),
    }


def stop_line(context: Context) -> str:
    """Return the hit that the inferior stands at, or else its place, as a line of JSON."""
    from json import dumps

    hit = context.hits().last
    return dumps(place_body(context) if hit is None else hit_body(hit))
