"""What the user's ranges mean: whole pages of mappings, with all that is known of each.

A target is one range; its pieces are the parts of it in one mapping each, since most
operations must not be given a range that mixes mappings.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pagezap.debugger.procread import living

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.debugger.maps import Mapping

PAGE = os.sysconf("SC_PAGE_SIZE")
REGISTRATION = frozenset({"um", "uw", "ui"})
SHMEM_KINDS = frozenset({"shared-anonymous", "memfd", "shmem"})
TMPFS_MAGIC = 0x01021994

KIND_WORDS = {
    "anonymous": "private anonymous memory",
    "shared-anonymous": "shared anonymous memory",
    "memfd": "memory of a memfd",
    "shmem": "shared memory",
    "hugetlb": "hugetlb memory",
    "file": "a file mapping",
    "special": "the kernel's own pages",
}


class Piece:
    """A part of one mapping, whole pages. True while the inferior is stopped.

    The kernel splits a mapping where a userfaultfd registration begins; such
    neighbours, alike in all else, make one piece.
    """

    def __init__(self, pid: int, mapping: Mapping, start: int, length: int) -> None:
        """Take ``length`` bytes at ``start`` of a mapping of process ``pid``."""
        self._pid = pid
        self.mapping = mapping
        self.start = start
        self.length = length
        self.mapping_start = mapping.start
        self.mapping_end = mapping.end
        self.flags = frozenset(mapping.flags)

    @property
    def end(self) -> int:
        """The first address after the piece."""
        return self.start + self.length

    @property
    def pages(self) -> int:
        """How many pages of the base size the piece has."""
        return self.length // PAGE

    @property
    def name(self) -> str:
        """The name of the mapping, as a person calls it."""
        return self.mapping.name

    @property
    def special(self) -> bool:
        """Whether it is the kernel's own: vdso, vvar, vsyscall."""
        return self.mapping.is_special

    @property
    def anonymous(self) -> bool:
        """Whether it is private memory of no file."""
        return self.mapping.is_anonymous and "ht" not in self.flags

    @property
    def shared(self) -> bool:
        """Whether writes are seen by others."""
        return not self.mapping.is_private

    @property
    def shmem(self) -> bool:
        """Whether it is shared memory that lives in no disk file."""
        if not self.shared:
            return False
        return self.mapping.kind in SHMEM_KINDS or (
            self.mapping.kind == "hugetlb" or self._on_tmpfs()
        )

    def _on_tmpfs(self) -> bool:
        """Return whether the file behind a mapping is on a tmpfs."""
        path = self.mapping.path.removesuffix(" (deleted)")
        if not path.startswith("/"):
            return False
        device = self.mapping.device
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
                for line in table:
                    fields, _, kind = line.partition(" - ")
                    major, minor = fields.split()[2].split(":")
                    if f"{int(major):02x}:{int(minor):02x}" == device:
                        return kind.split()[0] == "tmpfs"
        except OSError:
            pass
        return False

    @property
    def writable(self) -> bool:
        """Whether the program may write to it."""
        return self.mapping.is_writable

    @property
    def executable(self) -> bool:
        """Whether the program may run it."""
        return self.mapping.perms[2] == "x"

    @property
    def stack(self) -> bool:
        """Whether it is the stack of the first thread."""
        return self.mapping.is_stack

    @property
    def page_size(self) -> int:
        """The page size of the mapping in bytes, which hugetlb memory differs in."""
        if self.mapping.kind != "hugetlb":
            return PAGE
        from pagezap.commands.memory.smaps import field

        return field(self._pid, self.mapping_start, "KernelPageSize") or PAGE

    @property
    def huge_bytes(self) -> int:
        """Bytes of the mapping that are transparent huge pages."""
        from pagezap.commands.memory.smaps import field

        return field(self._pid, self.mapping_start, "AnonHugePages")

    def part(self, start: int, end: int) -> Piece:
        """Return the pages of the piece from ``start`` up to ``end``."""
        return Piece(self._pid, self.mapping, start, end - start)

    def outcome(
        self, before: int, after: int, via: str, reason: str = "", **numbers: int
    ) -> dict[str, object]:
        """Return what became of the piece as JSON shows it; all numbers are pages.

        ``before`` and ``after`` are those in memory.
        """
        body: dict[str, object] = {
            "start": self.start,
            "length": self.length,
            "mapping": self.name,
            "pages": self.pages,
            "resident_before": before,
            "resident_after": after,
            **numbers,
            "via": via,
        }
        if reason:
            body["reason"] = reason
        return body

    def kind_words(self) -> str:
        """Return what kind of memory it is, as a person says it."""
        if self.mapping.kind == "file":
            return f"a {'private' if self.mapping.is_private else 'shared'} file mapping"
        return KIND_WORDS.get(self.mapping.kind, self.mapping.kind)

    def label(self) -> str:
        """Return the piece's addresses and the name of its mapping."""
        return f"{self.start:#x}-{self.end:#x} ({self.name})"

    def other_mappers(self) -> list[int] | None:
        """Return the other processes that map the same object; None where one is unreadable."""
        found: list[int] = []
        hidden = False
        wanted = (self.mapping.device, str(self.mapping.inode))
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == self._pid:
                continue
            try:
                with open(
                    f"/proc/{living(int(entry))}/maps", encoding="utf-8", errors="replace"
                ) as maps:
                    same = any(tuple(line.split(None, 5)[3:5]) == wanted for line in maps)
            except (FileNotFoundError, ProcessLookupError):
                continue
            except OSError:
                hidden = True
                continue
            if same and not _agent(entry):
                found.append(int(entry))
        if hidden and not found:
            # The kernel counts who maps a page, whatever we may read of others.
            from pagezap.commands.memory.pages import exclusive

            return [] if exclusive(self._pid, self.start, self.length) else None
        return found


def _agent(entry: str) -> bool:
    """Return whether a process is our agent, which shares the inferior's memory."""
    try:
        with open(f"/proc/{entry}/comm", encoding="utf-8", errors="replace") as comm:
            return comm.read().strip() == "pagezap-agent"
    except OSError:
        return False


class Target:
    """One range of the user's, and its pieces.

    ``gathered`` where the text names a set of mappings (``all``, ``map:TEXT``), of
    which those that refuse are left out.
    """

    def __init__(
        self, text: str, start: int, length: int, pieces: Sequence[Piece], *, gathered: bool
    ) -> None:
        """Describe a range of ``length`` bytes at ``start``, exact as the user gave it."""
        self.text = text
        self.start = start
        self.length = length
        self.pieces = list(pieces)
        self.gathered = gathered


def alike(one: Mapping, other: Mapping) -> bool:
    """Return whether two neighbours differ in nothing but a registration."""
    return (
        one.end == other.start
        and one.perms == other.perms
        and one.path == other.path
        and one.inode == other.inode
        and set(one.flags) ^ set(other.flags) <= REGISTRATION
    )


def split(piece: Piece, spans: Sequence[tuple[int, int]]) -> list[tuple[Piece, bool]]:
    """Return the parts of a piece, each with whether it lies in one of the spans.

    The spans are (start, end), whole pages, in order and apart.
    """
    parts: list[tuple[Piece, bool]] = []
    position = piece.start
    for start, end in spans:
        low, high = max(start, position), min(end, piece.end)
        if low >= high:
            continue
        if position < low:
            parts.append((piece.part(position, low), False))
        parts.append((piece.part(low, high), True))
        position = high
    if position < piece.end:
        parts.append((piece.part(position, piece.end), False))
    return parts


def cut(pid: int, mappings: Sequence[Mapping], start: int, end: int) -> list[Piece]:
    """Return the pieces of the pages from ``start`` up to ``end``."""
    pieces: list[Piece] = []
    for mapping in mappings:
        low, high = max(start, mapping.start), min(end, mapping.end)
        if low >= high:
            continue
        if pieces and alike(pieces[-1].mapping, mapping) and pieces[-1].end == low:
            last = pieces[-1]
            merged = last.mapping._replace(
                end=mapping.end, flags=tuple({*last.mapping.flags, *mapping.flags})
            )
            pieces[-1] = Piece(pid, merged, last.start, high - last.start)
        else:
            pieces.append(Piece(pid, mapping, low, high - low))
    return pieces
