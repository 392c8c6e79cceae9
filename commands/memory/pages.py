"""States of pages, as pagemap and the ledger have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pagezap.commands.memory.target import PAGE
from pagezap.debugger.procread import living

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

RESIDENT = ("resident", "zero", "file")
"""States of pages that are in memory."""

SWAPPED = "swapped"

WP_BIT = 1 << 57
EXCLUSIVE_BIT = 1 << 56
PRESENT_BIT = 1 << 63
POPULATED_BITS = 1 << 63 | 1 << 62
CHUNK = 1 << 16
"""Entries of pagemap read at once."""

LedgerRow = tuple[int, int, str]
"""Start and length in bytes, and the state that pagezap knows."""


class Run(NamedTuple):
    """Neighbouring pages of one state. Bytes."""

    start: int
    length: int
    state: str


def runs(pid: int, start: int, length: int) -> list[Run]:
    """Return the states of the pages of a range, in order."""
    from pagezap.native import pagemap

    return [Run(*run) for run in pagemap.scan(living(pid), start, length)]


def counts(found: Iterable[Run]) -> dict[str, int]:
    """Return how many pages each state has."""
    result: dict[str, int] = {}
    for run in found:
        result[run.state] = result.get(run.state, 0) + run.length // PAGE
    return result


def resident(found: Mapping[str, int]) -> int:
    """Return the pages in memory, of counts by state."""
    return sum(found.get(state, 0) for state in RESIDENT)


def populated(found: Mapping[str, int]) -> int:
    """Return the pages that have content, in memory or swapped out."""
    return resident(found) + found.get(SWAPPED, 0)


def pairs(found: Sequence[Run], ledger: Sequence[LedgerRow]) -> Iterator[tuple[Run, str | None]]:
    """Yield the runs cut at the ledger's bounds, each with what the ledger says of it.

    Both are in the order of addresses.
    """
    index = 0
    for run in found:
        position, end = run.start, run.start + run.length
        while position < end:
            while index < len(ledger) and ledger[index][0] + ledger[index][1] <= position:
                index += 1
            stop, known = end, None
            if index < len(ledger):
                start, length, state = ledger[index]
                if start <= position:
                    stop, known = min(end, start + length), state
                else:
                    stop = min(end, start)
            yield Run(position, stop - position, run.state), known
            position = stop


def overlay(found: Sequence[Run], ledger: Sequence[LedgerRow]) -> Iterator[Run]:
    """Yield runs whose state is the ledger's where pagemap has nothing."""
    for run, known in pairs(found, ledger):
        there = run.state in RESIDENT or run.state == SWAPPED
        yield run if there or known is None else run._replace(state=known)


def _entries(pid: int, start: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield address and pagemap entry of each page of a range."""
    from array import array

    with open(f"/proc/{living(pid)}/pagemap", "rb", buffering=0) as pagemap:
        pagemap.seek(start // PAGE * 8)
        for offset in range(0, length // PAGE, CHUNK):
            entries = array("Q")
            entries.frombytes(pagemap.read(min(CHUNK, length // PAGE - offset) * 8))
            for index, entry in enumerate(entries):
                yield start + (offset + index) * PAGE, entry


def exclusive(pid: int, start: int, length: int) -> bool:
    """Return whether no other process maps a present page of a range (bit 56 of pagemap)."""
    return all(
        entry & EXCLUSIVE_BIT for _, entry in _entries(pid, start, length) if entry & PRESENT_BIT
    )


def unprotected(pid: int, start: int, length: int, *, missing: bool) -> list[tuple[int, int]]:
    """Return (start, length) of the pages in a range that a write would not trap.

    Bit 57 of pagemap is the write protection of a userfaultfd, in a present page as in
    the marker of an empty one. With ``missing`` an empty page traps without it.
    """
    found: list[tuple[int, int]] = []
    for address, entry in _entries(pid, start, length):
        if entry & WP_BIT or (missing and not entry & POPULATED_BITS):
            continue
        if found and found[-1][0] + found[-1][1] == address:
            found[-1] = (found[-1][0], found[-1][1] + PAGE)
        else:
            found.append((address, PAGE))
    return found
