"""What the debugger's thread library reads at every stop, so that it has to be there.

libthread_db reads the control block of each thread, and lists of the C library and its
loader, before anybody hears of a stop. Were such a page away, the stop would fail.
"""

from __future__ import annotations

import re
from contextlib import suppress
from struct import Struct
from sys import byteorder
from typing import TYPE_CHECKING

from pagezap.debugger.errors import PagezapError
from pagezap.debugger.ranges import round_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pagezap.debugger.api import Debugger
    from pagezap.debugger.maps import Mapping

REASON = "the debugger's thread library reads it at every stop"
CONTROL_BLOCK = 0x900
"""Bytes of glibc's struct pthread, at the thread's handle, where the library does not tell."""
SIZE_SYMBOL = "_thread_db_sizeof_pthread"

LIBRARY = re.compile(r".*/(?:ld|libc|libpthread)(?:-[^/]*)?\.so(?:\.\d+)*(?: \(deleted\))?")
LISTS = (
    "_dl_stack_user",
    "_dl_stack_used",
    "_dl_tls_dtv_slotinfo_list",
    "_dl_static_dtv",
    "__nptl_nthreads",
    "__nptl_last_event",
    "__nptl_initial_report_events",
)
"""What libthread_db looks up by name; in a static program these are all there is to know."""

ELF_HEADER = Struct("<4s28xQ14xHH6x")
"""Magic, e_phoff, e_phentsize, e_phnum; see elf(5)."""
PROGRAM_HEADER = Struct("<IIQQQQQQ")
PT_LOAD, PF_W = 1, 2

Span = tuple[int, int]
"""First address, and the first after it."""


def spans(debugger: Debugger, mappings: Sequence[Mapping]) -> list[Span]:
    """Return the pages that have to stay, in order and joined; none without such a library."""
    found = blocks(debugger)
    if not found:
        return []
    for index, mapping in enumerate(mappings):
        first = index == 0 or mappings[index - 1].path != mapping.path
        if first and mapping.offset == 0 and LIBRARY.fullmatch(mapping.path):
            found += _writable(debugger, mapping.start)
    for name in LISTS:
        address = debugger.symbol_address(name)
        if address:
            found.append((address, address + 1))
    return joined(found)


def blocks(debugger: Debugger) -> list[Span]:
    """Return where the threads' control blocks are, as far as the debugger knows."""
    handles = debugger.thread_handles()
    size = _block_size(debugger) if handles else 0
    return [(handle, handle + size) for handle in handles]


def _block_size(debugger: Debugger) -> int:
    """Return the bytes of a thread's control block, as libthread_db itself finds them out."""
    address = debugger.symbol_address(SIZE_SYMBOL)
    if address:
        with suppress(PagezapError):
            return int.from_bytes(debugger.read_memory(address, 4), byteorder) or CONTROL_BLOCK
    return CONTROL_BLOCK


def _writable(debugger: Debugger, base: int) -> Iterator[Span]:
    """Yield the writable segments of the library loaded at ``base``, .bss included."""
    with suppress(PagezapError):
        magic, table, size, number = ELF_HEADER.unpack(debugger.read_memory(base, ELF_HEADER.size))
        if magic != b"\x7fELF" or size != PROGRAM_HEADER.size:
            return
        headers = debugger.read_memory(base + table, size * number)
        for kind, flags, _, address, _, _, length, _ in PROGRAM_HEADER.iter_unpack(headers):
            if kind == PT_LOAD and flags & PF_W:
                yield base + address, base + address + length


def joined(found: Sequence[Span]) -> list[Span]:
    """Return the whole pages of spans, in order, those that touch as one."""
    result: list[Span] = []
    for start, end in sorted(found):
        low, length = round_out(start, end - start)
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], low + length))
        else:
            result.append((low, low + length))
    return result
