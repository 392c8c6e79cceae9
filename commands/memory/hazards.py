"""What an operation on memory would lose or break, found before anything is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.debugger.errors import HazardError, PagezapError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagezap.commands.memory.target import Piece


class Hazard:
    """Something to know of a range.

    ``refusal`` is the error that stands against the operation, None where the user is
    only told. A HazardError yields to ``--force``, any other error does not.
    """

    __slots__ = ("detail", "kind", "length", "refusal", "start")

    def __init__(
        self, kind: str, start: int, length: int, detail: str, refusal: PagezapError | None = None
    ) -> None:
        """Describe one hazard of ``length`` bytes at ``start``."""
        self.kind = kind
        self.start = start
        self.length = length
        self.detail = detail
        self.refusal = refusal

    def json(self) -> dict[str, object]:
        """Return the hazard as JSON shows it."""
        return {
            "kind": self.kind,
            "start": self.start,
            "length": self.length,
            "detail": self.detail,
        }

    def stands(self, *, force: bool) -> bool:
        """Return whether the operation is refused."""
        if self.refusal is None:
            return False
        return not (force and isinstance(self.refusal, HazardError))


def _note(piece: Piece, kind: str, detail: str) -> Hazard:
    return Hazard(kind, piece.start, piece.length, detail)


def _forceable(piece: Piece, kind: str, detail: str) -> Hazard:
    error = HazardError(
        f"{piece.label()}: {detail}", hint="--force does it all the same", kind=kind
    )
    return Hazard(kind, piece.start, piece.length, detail, error)


def _impossible(piece: Piece, kind: str, detail: str, hint: str) -> Hazard:
    error = UnsupportedError(f"{piece.label()}: {detail}", hint=hint, kind=kind)
    return Hazard(kind, piece.start, piece.length, detail, error)


def everywhere(piece: Piece, *, ours: bool) -> list[Hazard]:
    """Return what stands against any operation on the pages of a piece."""
    return list(_everywhere(piece, ours=ours))


def _everywhere(piece: Piece, *, ours: bool) -> Iterable[Hazard]:
    flags = piece.flags
    if piece.special:
        yield _impossible(
            piece, "special-mapping", "the kernel's own pages", "Name memory of the program"
        )
    if flags & {"io", "pf"}:
        yield _impossible(
            piece, "device-memory", "memory of a device, not pages", "Name ordinary memory"
        )
    if flags & {"um", "uw", "ui"} and not ours:
        yield _impossible(
            piece,
            "foreign-userfaultfd",
            "is registered with another userfaultfd",
            "Leave it to the program that manages it",
        )


def of_keep(piece: Piece, *, ours: bool) -> list[Hazard]:
    """Return the hazards of taking a piece's pages away and holding them."""
    return _of_private(
        piece,
        "kept",
        ours=ours,
        why="",
        hint="Keeping works on private anonymous memory: zap --keep [heap], or all",
        huge="Zap them without --keep",
    )


def of_forks(piece: Piece) -> Hazard:
    """Return what threatens the children of a process whose userfaultfd reports no fork."""
    return _forceable(
        piece,
        "fork-zeros",
        "a child that the program forks would read zeros where pages are away: without "
        "CAP_SYS_PTRACE the kernel tells of no fork",
    )


def of_watch(piece: Piece, *, ours: bool) -> list[Hazard]:
    """Return the hazards of write-protecting a piece's pages."""
    return _of_private(
        piece,
        "watched",
        ours=ours,
        why=": the kernel protects private anonymous memory only",
        hint="Watch heap, .bss, stack or mmap'ed memory; for a few bytes of other "
        "memory use the debugger's own watch",
        huge="Watch other memory",
    )


def _of_private(
    piece: Piece, done: str, *, ours: bool, why: str, hint: str, huge: str
) -> list[Hazard]:
    """Return the hazards of what works on private anonymous memory of small pages only."""
    found = list(_everywhere(piece, ours=ours))
    if found:
        return found
    if not piece.anonymous:
        detail = f"{piece.kind_words()} cannot be {done}{why}"
        return [_impossible(piece, "unsupported-memory", detail, hint)]
    if "ht" in piece.flags:
        return [_impossible(piece, "hugetlb", f"hugetlb pages cannot be {done}", huge)]
    return []


def of_thread_library(piece: Piece) -> PagezapError:
    """Return the refusal of a piece without which the debugger could not stop any more."""
    from pagezap.commands.memory.threadlib import REASON

    return UnsupportedError(
        f"{piece.label()}: {REASON}",
        hint="Name other memory; --force does not help, as no stop would work any more",
        kind="thread-library",
    )


def of_drop(piece: Piece, *, ours: bool, stacks: Iterable[tuple[int, int]]) -> list[Hazard]:
    """Return the hazards of dropping a piece's pages; ``stacks`` are (start, end) in use."""
    found = list(_everywhere(piece, ours=ours))
    if found:
        return found
    flags = piece.flags
    if "sl" in flags and not piece.writable:
        return [_impossible(piece, "sealed", "is sealed and read-only", "The kernel keeps it so")]
    if "ht" in flags and (piece.start | piece.length) % piece.page_size:
        return [
            _impossible(
                piece,
                "hugetlb-partial",
                f"covers part of a huge page of {piece.page_size} bytes",
                f"Use bounds that are multiples of {piece.page_size}",
            )
        ]
    if piece.shared:
        found += _of_shared(piece)
    elif not piece.anonymous:
        found.append(
            _note(
                piece,
                "file-content-returns",
                "a private file mapping: its pages go back to the file's content, "
                "and breakpoints inserted in them are lost",
            )
        )
    if "lo" in flags:
        found.append(_forceable(piece, "mlocked", "is locked in memory (mlock)"))
    if piece.executable:
        found.append(_forceable(piece, "code", "holds code"))
    if piece.stack or any(low < piece.end and piece.start < high for low, high in stacks):
        found.append(_forceable(piece, "stack", "holds the stack of a thread"))
    if "wf" in flags:
        found.append(_note(piece, "wipe-on-fork", "forked children see zeros here in any case"))
    found += _of_huge_pages(piece)
    return found


def _of_huge_pages(piece: Piece) -> list[Hazard]:
    huge = 2 << 20
    if "ht" in piece.flags or not piece.huge_bytes or not (piece.start | piece.length) % huge:
        return []
    return [
        _note(
            piece,
            "huge-page-split",
            "covers part of a transparent huge page, which the kernel splits",
        )
    ]


def _of_shared(piece: Piece) -> list[Hazard]:
    """Return the hazards of dropping shared memory, which takes it from everybody."""
    if not piece.shmem:
        return [
            _impossible(
                piece,
                "shared-file",
                "a shared mapping of a file: its content is the file, a zap would change nothing",
                "process-madvise pageout drops the pages from memory",
            )
        ]
    others = piece.other_mappers()
    if others is None or others:
        who = "it cannot be told which" if others is None else ", ".join(map(str, others[:8]))
        return [
            _forceable(
                piece,
                "shared",
                f"shared memory: every process that maps it loses the content ({who})",
            )
        ]
    return [
        _note(
            piece,
            "shared-content-lost",
            "shared memory: a hole is punched, so whoever maps it later finds zeros",
        )
    ]


def refuse(found: Iterable[Hazard], *, force: bool) -> None:
    """Raise the first error that stands."""
    for hazard in found:
        if hazard.refusal is not None and hazard.stands(force=force):
            raise hazard.refusal
