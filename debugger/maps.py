"""The address space of a process: /proc/PID/maps, and VmFlags of /proc/PID/smaps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pagezap.debugger.procread import living, read_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = os.sysconf("SC_PAGE_SIZE")
HEAP = "[heap]"
START_BRK = 44
"""Where start_brk is in /proc/PID/stat behind the name; field 47 of proc(5)."""
SPECIAL = frozenset({"[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]", "[uprobes]"})
REGISTERED = frozenset({"um", "uw", "ui"})
"""VmFlags of memory that is registered with a userfaultfd: missing, write-protect, minor."""


class Mapping(NamedTuple):
    """One line of /proc/PID/maps. True while the process does not run."""

    start: int
    end: int
    perms: str
    offset: int
    device: str
    inode: int
    path: str
    """The path, ``[heap]``, ``[anon:NAME]``, or nothing."""
    flags: tuple[str, ...] = ()
    """VmFlags of smaps, where they were asked for."""

    @property
    def length(self) -> int:
        """Its size in bytes."""
        return self.end - self.start

    @property
    def is_private(self) -> bool:
        """Whether writes stay with the process."""
        return self.perms[3] == "p"

    @property
    def is_readable(self) -> bool:
        """Whether the process may read it."""
        return self.perms[0] == "r"

    @property
    def is_writable(self) -> bool:
        """Whether the process may write to it."""
        return self.perms[1] == "w"

    @property
    def is_special(self) -> bool:
        """Whether the kernel made it for its own ends: vdso, vvar, vsyscall."""
        return self.path in SPECIAL

    @property
    def is_stack(self) -> bool:
        """Whether it is the stack of the first thread. Others' stacks are not marked."""
        return self.path == "[stack]"

    @property
    def is_anonymous(self) -> bool:
        """Whether it is private memory of no file: heap, stack, anonymous maps, bss's tail."""
        return self.is_private and self.inode == 0 and not self.is_special

    @property
    def kind(self) -> str:
        """What backs it: anonymous, shared-anonymous, memfd, shmem, hugetlb, file or special."""
        if self.is_special:
            return "special"
        if self.path.startswith("/anon_hugepage") or "ht" in self.flags:
            return "hugetlb"
        if self.inode == 0:
            return "anonymous" if self.is_private else "file"
        if self.path.startswith(("/dev/zero", "[anon_shmem:")):
            return "shared-anonymous"
        if self.path.startswith("/memfd:"):
            return "memfd"
        if self.path.startswith(("/dev/shm/", "/SYSV")):
            return "shmem"
        return "file"

    @property
    def name(self) -> str:
        """The name by which it is shown."""
        return self.path or "anonymous memory"

    @property
    def is_registered(self) -> bool:
        """Whether a userfaultfd has it, ours or another; needs ``flags``."""
        return not REGISTERED.isdisjoint(self.flags)


def mappings(pid: int, *, flags: bool = False) -> list[Mapping]:
    """Return a process's mappings in the order of addresses.

    With ``flags`` they are read of smaps, which costs a walk of all page tables.
    """
    path = f"/proc/{living(pid)}/{'smaps' if flags else 'maps'}"
    text = read_bytes(path).decode("utf-8", "replace")
    found = parse_smaps(text) if flags else [_parse_line(line) for line in text.splitlines()]
    return clamp_heap(found, heap_start(pid)) if any(each.path == HEAP for each in found) else found


def heap_start(pid: int) -> int:
    """Return the first whole page of a process's heap, 0 where the kernel does not tell."""
    text = read_bytes(f"/proc/{living(pid)}/stat").decode("utf-8", "replace")
    start = int(text[text.rindex(")") + 2 :].split()[START_BRK])
    return -(-start // PAGE) * PAGE


def clamp_heap(found: Sequence[Mapping], start: int) -> list[Mapping]:
    """Return mappings of which none below ``start`` has the heap's name.

    Without ASLR .bss ends where the heap begins. The kernel then joins the two where they
    are alike, as after a registration, and calls the whole the heap.
    """
    result = []
    for each in found:
        if each.path != HEAP or each.start >= start:
            result.append(each)
        elif each.end <= start:
            result.append(each._replace(path=""))
        else:
            result += [each._replace(end=start, path=""), each._replace(start=start)]
    return result


def parse_smaps(text: str) -> list[Mapping]:
    """Parse the text of an smaps file."""
    found: list[Mapping] = []
    head = ""
    for line in text.splitlines():
        if line.startswith("VmFlags:"):
            found.append(_parse_line(head)._replace(flags=tuple(line[8:].split())))
        elif not line.partition(" ")[0].endswith(":"):
            head = line
    return found


def _parse_line(line: str) -> Mapping:
    words = line.split(None, 5)
    start, _, end = words[0].partition("-")
    return Mapping(
        int(start, 16),
        int(end, 16),
        words[1],
        int(words[2], 16),
        words[3],
        int(words[4]),
        words[5] if len(words) > 5 else "",
    )


def registered(pid: int) -> list[Mapping]:
    """Return the mappings that a userfaultfd has."""
    return [mapping for mapping in mappings(pid, flags=True) if mapping.is_registered]
