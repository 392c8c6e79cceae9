"""The states of a process's pages, read from /proc/PID/pagemap. Standard library only.

PAGEMAP_SCAN tells zero pages from others without privilege and skips what is empty;
where the kernel lacks it, pagemap's entries are read and told apart, and a zero page
counts as resident.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = 4096
CHUNK: Final = 1 << 15
"""Entries read at once: 128 MiB of address space."""

PRESENT: Final = 1 << 63
SWAPPED: Final = 1 << 62
FILE: Final = 1 << 61
GUARD: Final = 1 << 58
WRITE_PROTECTED: Final = 1 << 57
_KIND: Final = PRESENT | SWAPPED | FILE | GUARD
_TYPE: Final = 0x1F
_MARKER: Final = 31
_MARKERS: Final = {1: "marker-wp", 2: "marker-poison", 4: "marker-guard"}

# Categories of PAGEMAP_SCAN.
_SCAN: Final = 0xC0606610
_FILE: Final = 1 << 2
_PRESENT: Final = 1 << 3
_SWAPPED: Final = 1 << 4
_PFNZERO: Final = 1 << 5
_GUARD: Final = 1 << 8
_REGIONS: Final = 4096


class Run(NamedTuple):
    """Neighbouring pages of one state, in bytes."""

    start: int
    length: int
    state: str
    """resident, swapped, zero, unpopulated, file, marker-wp, marker-poison or marker-guard."""


class _ScanArg(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("start", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
        ("walk_end", ctypes.c_uint64),
        ("vec", ctypes.c_uint64),
        ("vec_len", ctypes.c_uint64),
        ("max_pages", ctypes.c_uint64),
        ("category_inverted", ctypes.c_uint64),
        ("category_mask", ctypes.c_uint64),
        ("category_anyof_mask", ctypes.c_uint64),
        ("return_mask", ctypes.c_uint64),
    )


def entry_state(entry: int) -> str:
    """The state that one entry of pagemap says.

    A marker looks swapped and holds no content: it has a swap type of its own.
    """
    if entry & PRESENT:
        return "file" if entry & FILE else "resident"
    if entry & GUARD:
        return "marker-guard"
    if entry & SWAPPED:
        if entry & _TYPE == _MARKER:
            # The offset of a swap entry begins at bit 5.
            return _MARKERS.get(entry >> 5 & 7, "marker-wp")
        return "swapped"
    return "unpopulated"


def scan(pid: int, start: int, length: int) -> list[Run]:
    """The states of a range's pages, in order and without gaps. Raises OSError."""
    end = start + length
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        try:
            return list(_joined(_scanned(pagemap.fileno(), start, end), start, end))
        except OSError as error:
            # ENOTTY: an old kernel. EINVAL: a category it does not know.
            if error.errno not in {errno.ENOTTY, errno.EINVAL}:
                raise
        return list(_joined(_read(pagemap.fileno(), start, end), start, end))


def scan_entries(pid: int, start: int, length: int) -> list[Run]:
    """As ``scan``, from pagemap's entries alone. Raises OSError."""
    end = start + length
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        return list(_joined(_read(pagemap.fileno(), start, end), start, end))


def _joined(runs: Iterator[Run], start: int, end: int) -> Iterator[Run]:
    """Join neighbours of one state, and say that the gaps are unpopulated."""
    at = start
    last: Run | None = None
    for run in runs:
        if run.start > at:
            last, done = _append(last, Run(at, run.start - at, "unpopulated"))
            yield from done
        last, done = _append(last, run)
        yield from done
        at = run.start + run.length
    if at < end:
        last, done = _append(last, Run(at, end - at, "unpopulated"))
        yield from done
    if last:
        yield last


def _append(last: Run | None, run: Run) -> tuple[Run, tuple[Run, ...]]:
    if last is None:
        return run, ()
    if last.state == run.state and last.start + last.length == run.start:
        return Run(last.start, last.length + run.length, run.state), ()
    return run, (last,)


def _scanned(fd: int, start: int, end: int) -> Iterator[Run]:
    """The pages that hold something or a marker, by PAGEMAP_SCAN."""
    regions = array("Q", bytes(_REGIONS * 24))
    kinds = _PRESENT | _SWAPPED
    wanted = kinds | _FILE | _PFNZERO | _GUARD
    argument = _ScanArg(
        size=ctypes.sizeof(_ScanArg),
        start=start,
        end=end,
        vec=regions.buffer_info()[0],
        vec_len=_REGIONS,
        category_anyof_mask=kinds,
        return_mask=wanted,
    )
    while argument.start < end:
        try:
            found = fcntl.ioctl(fd, _SCAN, argument)
        except OSError as error:
            # GUARD is newer than the call.
            if error.errno != errno.EINVAL or not wanted & _GUARD:
                raise
            wanted &= ~_GUARD
            argument.return_mask = wanted
            continue
        for i in range(found):
            low, high, categories = regions[3 * i : 3 * i + 3]
            yield from _region(fd, low, high, categories)
        if argument.walk_end <= argument.start:
            return
        argument.start = argument.walk_end


def _region(fd: int, low: int, high: int, categories: int) -> Iterator[Run]:
    if categories & _PRESENT:
        state = "resident"
        if categories & _PFNZERO:
            state = "zero"
        elif categories & _FILE:
            state = "file"
        yield Run(low, high - low, state)
    elif categories & _GUARD:
        yield Run(low, high - low, "marker-guard")
    else:
        # Swapped, or a marker that looks it: only the entries tell.
        yield from _read(fd, low, high)


def _read(fd: int, start: int, end: int) -> Iterator[Run]:
    at = start
    while at < end:
        count = min(CHUNK, (end - at) // PAGE)
        entries = array("Q")
        data = os.pread(fd, count * 8, at // PAGE * 8)
        if not data:
            return
        entries.frombytes(data[: len(data) // 8 * 8])
        yield from _decoded(entries, at)
        at += len(entries) * PAGE


def _decoded(entries: array[int], base: int) -> Iterator[Run]:
    """Runs of entries whose state is one: found by whole blocks of equal bytes where empty."""
    if not any(entries):
        yield Run(base, len(entries) * PAGE, "unpopulated")
        return
    first = 0
    key = _key(entries[0])
    for index, entry in enumerate(entries):
        other = entry & _KIND if entry & PRESENT else _key(entry)
        if other != key:
            yield Run(base + first * PAGE, (index - first) * PAGE, entry_state(entries[first]))
            first, key = index, other
    yield Run(base + first * PAGE, (len(entries) - first) * PAGE, entry_state(entries[first]))


def _key(entry: int) -> int:
    """What of an entry decides its state."""
    kind = entry & _KIND
    if kind & SWAPPED and not kind & PRESENT:
        # For a marker, which one; for a swapped page only that it is no marker.
        return kind | (entry & 0xFF if entry & _TYPE == _MARKER else 0)
    return kind


if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("pagemap is decoded as little-endian")
