"""Running one thread alone and unnoticed, off the breakpoint at which it stands."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import gdb

from pagezap.debugger.backends.gdb_execute import execute

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTIFICATIONS = "suppress-cli-notifications"
"""A setting of gdb 14 and later."""
CODE = frozenset({gdb.BP_BREAKPOINT, gdb.BP_HARDWARE_BREAKPOINT})


@functools.cache
def _has_parameter(name: str) -> bool:
    """Return whether this gdb has a setting of that name."""
    try:
        gdb.parameter(name)
    except RuntimeError:
        return False
    return True


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold all threads but the selected one in the body."""
    locking = gdb.parameter("scheduler-locking")
    if locking != "on":
        execute("set scheduler-locking on")
    try:
        yield
    finally:
        if locking != "on":
            execute(f"set scheduler-locking {locking}")


@contextlib.contextmanager
def unnoticed() -> Iterator[None]:
    """Keep a step in the body from being printed, where gdb can."""
    quiet = _has_parameter(NOTIFICATIONS) and not gdb.parameter(NOTIFICATIONS)
    if quiet:
        execute(f"set {NOTIFICATIONS} on")
    try:
        yield
    finally:
        if quiet:
            execute(f"set {NOTIFICATIONS} off")


def breakpoints_at(address: int) -> list[Any]:
    """Return the user's enabled breakpoints with a place at an address."""
    return [
        each
        for each in gdb.breakpoints()
        if each.enabled
        and each.type in CODE
        and any(place.enabled and place.address == address for place in each.locations)
    ]


@contextlib.contextmanager
def without_breakpoints(address: int) -> Iterator[bool]:
    """Disable the breakpoints at an address for the body; False where there is none."""
    there = breakpoints_at(address)
    for each in there:
        each.enabled = False
    try:
        yield bool(there)
    finally:
        for each in there:
            each.enabled = True
