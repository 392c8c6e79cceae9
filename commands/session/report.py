"""The text of a stop at a hit, the same in every debugger."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pagezap.commands.session.hits import Hit
    from pagezap.debugger.api import Debugger

SHOWN_BYTES = 64
"""Bytes of old and new content printed; the JSON form has no such bound."""


def dump(data: bytes) -> str:
    """Return bytes as ``00 1f …``, at most SHOWN_BYTES of them."""
    return data[:SHOWN_BYTES].hex(" ")


def describe(hit: Hit, debugger: Debugger) -> str:
    """Return the lines that tell of a hit: what, where, who, before and after."""
    name = debugger.name_address(hit.address)
    where = f"{hit.address:#x} ({name})" if name else f"{hit.address:#x}"
    call = f" in {hit.syscall}(2)" if hit.syscall else ""
    also = f"\nalso uffd watchpoint {', '.join(map(str, hit.also))}" if hit.also else ""
    length = max(len(hit.old), len(hit.new))
    more = f"(the first {SHOWN_BYTES} of {length} bytes)\n" if length > SHOWN_BYTES else ""
    return (
        f"\nUffd watchpoint {hit.watch}: {hit.text}{also}\n"
        f"{hit.access} at {where} by thread {hit.thread.name}{call}\n"
        f"Old: {dump(hit.old)}\n"
        f"New: {dump(hit.new)}\n"
        f"{more}"
        f"{debugger.frame_line()}\n"
    )
