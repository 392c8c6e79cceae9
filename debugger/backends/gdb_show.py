"""A stop in gdb's words, where gdb itself was kept from printing it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import gdb

from pagezap.debugger.backends.gdb_signals import handling
from pagezap.debugger.backends.gdb_symbols import frame_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagezap.debugger.api import Stop

WATCHPOINTS = {
    gdb.BP_WATCHPOINT: "Watchpoint",
    gdb.BP_HARDWARE_WATCHPOINT: "Hardware watchpoint",
    gdb.BP_READ_WATCHPOINT: "Hardware read watchpoint",
    gdb.BP_ACCESS_WATCHPOINT: "Hardware access (read/write) watchpoint",
}
LOCATION = "-location "
WRITTEN = {gdb.BP_WATCHPOINT, gdb.BP_HARDWARE_WATCHPOINT}


def is_silent(stop: Stop) -> bool:
    """Return whether all breakpoints of a stop begin their commands with ``silent``."""
    met = _met(stop)
    return bool(met) and all((each.commands or "").split()[:1] == ["silent"] for each in met)


def print_stop(stop: Stop) -> None:
    """Show a stop as gdb does; of a watchpoint without the old value, which is lost."""
    thread = gdb.selected_thread()
    many = thread is not None and len(gdb.selected_inferior().threads()) > 1
    who = f'Thread {thread.num} "{thread.name}"' if many else ""
    if stop.reason == "signal" and stop.signal is not None:
        description = handling(stop.signal).description
        gdb.write(f"\n{who or 'Program'} received signal {stop.signal}, {description}.\n")
    elif stop.reason == "breakpoint":
        _print_breakpoints(stop, who)
    with contextlib.suppress(gdb.error):
        gdb.write(frame_text())


def _print_breakpoints(stop: Stop, who: str) -> None:
    hit = f"{who} hit " if who else ""
    watchpoints = {each.number: each for each in _met(stop) if each.type in WATCHPOINTS}
    for each in watchpoints.values():
        gdb.write(f"\n{hit}{WATCHPOINTS[each.type]} {each.number}: {each.expression}\n")
        with contextlib.suppress(gdb.error):
            value = gdb.parse_and_eval(each.expression.removeprefix(LOCATION)).format_string()
            label = "New value" if each.type in WRITTEN else "Value"
            gdb.write(f"\n{label} = {value}\n")
    numbers = [str(each) for each in dict.fromkeys(stop.breakpoints) if each not in watchpoints]
    if numbers:
        kind = "Temporary breakpoint" if stop.temporary else "Breakpoint"
        gdb.write(f"\n{hit}{kind} {', '.join(numbers)}, ")


def _met(stop: Stop) -> Iterable[Any]:
    return [each for each in gdb.breakpoints() if each.number in stop.breakpoints]
