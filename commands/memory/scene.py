"""The current inferior as a command finds it: its mappings, its session, its ranges."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import cached_property
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

from pagezap.commands.memory import hazards, pages, threadlib
from pagezap.commands.memory.target import PAGE, Piece, Target, cut, split
from pagezap.debugger import maps, procfs, ranges
from pagezap.debugger.errors import PagezapError, RangeError, UnsupportedError
from pagezap.debugger.injectable import check_bits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from pagezap.commands.session.context import Context
    from pagezap.commands.session.session import Session
    from pagezap.debugger.maps import Mapping
    from pagezap.debugger.ranges import MemoryRange

NO_MOVE = "PAGEZAP_NO_MOVE"
"""Environment variable that has new sessions keep pages by copying, as on older kernels."""

STATES = {1: "kept", 2: "kept", 3: "fill", 4: "zapped"}
"""States of the ledger in the control protocol; where the content is does not matter here."""


class Scene:
    """What one command works on. Short-lived: true while the inferior is stopped."""

    page_size = PAGE

    def __init__(self, context: Context) -> None:
        """Look at the current inferior. Raises NoInferiorError or UnsupportedError."""
        self.context = context
        inferior = context.debugger.inferior()
        check_bits(inferior)
        self.pid = inferior.pid

    @property
    def session(self) -> Session | None:
        """The inferior's session, None where there is none."""
        return self.context.session()

    def require_session(self) -> Session:
        """Return the inferior's session, set up now where there was none."""
        return self.context.require_session(no_move=bool(os.environ.get(NO_MOVE)))

    def hidden(self) -> AbstractContextManager[None]:
        """Put the memory into the state that the inferior runs with, for the body."""
        session = self.session
        return nullcontext() if session is None else session.hidden()

    @cached_property
    def mappings(self) -> list[Mapping]:
        """The program's own mappings, flags included; not those that are ours."""
        own = self._own()
        return [
            mapping
            for mapping in maps.mappings(self.pid, flags=True)
            if not any(start < mapping.end and mapping.start < end for start, end in own)
        ]

    def _own(self) -> list[tuple[int, int]]:
        session = self.session
        if session is None:
            return []
        return [(start, start + length) for start, length in session.own_ranges]

    # -- ranges ----------------------------------------------------------------------
    def targets(self, texts: Sequence[str], *, rounding: str, purpose: str) -> list[Target]:
        """Return what the texts mean, the pieces rounded ``in``, ``out`` or ``exact``.

        ``exact`` keeps the bytes as given and rounds the pieces out. Raises RangeError
        or UsageError; nothing was touched.
        """
        found: list[Target] = []
        for text in texts:
            found += self._targets_of(text, rounding, purpose)
        if not found:
            raise ranges.nothing_left(texts[0])
        _no_overlap([piece for target in found for piece in target.pieces])
        return found

    def _targets_of(self, text: str, rounding: str, purpose: str) -> list[Target]:
        parsed = ranges.parse(text, self.context.debugger, self.mappings, purpose)
        gathered = text.strip() == "all" or text.strip().startswith("map:")
        stacks = self._whole_stacks() if text.strip() == "all" else ()
        result = []
        for item in _joined(parsed):
            if rounding == "in":
                start, length = ranges.round_in(item.start, item.length, item.text)
            else:
                start, length = ranges.round_out(item.start, item.length)
            pieces = [
                part
                for piece in cut(self.pid, self.mappings, start, start + length)
                for part, is_stack in split(piece, stacks)
                if not is_stack
            ]
            if pieces:
                result.append(Target(item.text, item.start, item.length, pieces, gathered=gathered))
        return result

    def again(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Return pieces as they are now, where a session was hidden or shown meanwhile."""
        self.__dict__.pop("mappings", None)
        return [
            found
            for piece in pieces
            for found in cut(self.pid, self.mappings, piece.start, piece.end)
        ]

    def pieces(self, texts: Sequence[str], *, purpose: str) -> list[Piece]:
        """Return the pages that the texts touch; without a text all that the program has mapped.

        Then the kernel's own pages are left out.
        """
        if texts:
            targets = self.targets(texts, rounding="out", purpose=purpose)
            return [piece for target in targets for piece in target.pieces]
        mappings = [mapping for mapping in self.mappings if not mapping.is_special]
        return cut(self.pid, mappings, 0, ranges.TOP)

    def name_at(self, address: int) -> str:
        """Return the name of the mapping at an address."""
        for mapping in self.mappings:
            if mapping.start <= address < mapping.end:
                return mapping.name
        return ""

    # -- threads -----------------------------------------------------------------------
    def stack_pointers(self) -> list[int]:
        """Return the stack pointers of the inferior's threads, as far as the kernel tells."""
        found = []
        for tid in procfs.tasks(self.pid):
            try:
                words = procfs.read_bytes(f"/proc/{self.pid}/task/{tid}/syscall").split()
            except PagezapError:
                continue
            # "running", or "-1 SP PC", or "NUMBER six arguments SP PC".
            if len(words) > 1:
                found.append(int(words[-2], 16))
        return found

    def stacks(self) -> list[tuple[int, int]]:
        """Return (start, end) of the pages that threads' stacks use just now.

        A stack ends above at its thread's control block, where the debugger knows of
        one, below the next stack, or with the memory it is in.
        """
        return threadlib.joined([(low, high) for _, low, high in self._stacks()])

    def _whole_stacks(self) -> list[tuple[int, int]]:
        """Return (start, end) of stacks with all the memory below that they may grow into."""
        return threadlib.joined([(bottom, high) for bottom, _, high in self._stacks()])

    def _stacks(self) -> Iterator[tuple[int, int, int]]:
        """Yield of each stack the start of its memory, the lowest byte in use, and its end."""
        from pagezap.debugger.arch import for_machine

        red_zone = for_machine(procfs.machine(self.pid)).red_zone
        pointers = sorted(set(self.stack_pointers()))
        blocks = threadlib.blocks(self.context.debugger)
        for area in cut(self.pid, self.mappings, 0, ranges.TOP):
            inside = [pointer for pointer in pointers if area.start <= pointer < area.end]
            for pointer, following in zip_longest(inside, inside[1:], fillvalue=area.end):
                own = next(each for each in self.mappings if each.start <= pointer < each.end)
                above = [high for _, high in blocks if pointer < high <= following]
                end = min(above, default=min(own.end, following))
                yield own.start, max(own.start, pointer - red_zone), end

    def thread_library(self) -> list[tuple[int, int]]:
        """Return (start, end) of what the debugger's thread library reads at every stop."""
        return threadlib.spans(self.context.debugger, self.mappings)

    # -- pages -------------------------------------------------------------------------
    def runs(self, piece: Piece) -> list[pages.Run]:
        """Return the states of a piece's pages."""
        return pages.runs(self.pid, piece.start, piece.length)

    def counts(self, piece: Piece) -> dict[str, int]:
        """Return how many of a piece's pages have each state."""
        return pages.counts(self.runs(piece))

    def present(self, piece: Piece) -> int:
        """Return how many of a piece's pages have content, in memory or swapped out."""
        return pages.populated(self.counts(piece))

    def ledger(self) -> list[pages.LedgerRow]:
        """Return what the helper holds, in the order of addresses; read anew each time."""
        session = self.session
        if session is None:
            return []
        return sorted((row.start, row.length, STATES[row.state]) for row in session.client.ledger())

    def held_spans(self) -> list[tuple[int, int]]:
        """Return (start, length) of the pages that are kept, neighbours joined."""
        spans: list[tuple[int, int]] = []
        for start, length, state in self.ledger():
            if state != "kept":
                continue
            if spans and spans[-1][0] + spans[-1][1] == start:
                spans[-1] = (spans[-1][0], spans[-1][1] + length)
            else:
                spans.append((start, length))
        return spans

    def held(self, piece: Piece) -> int:
        """Return how many of a piece's pages are kept."""
        return within(piece, self.held_spans())

    def absent_spans(self, piece: Piece) -> list[tuple[int, int]]:
        """Return (start, length) of a piece's pages that are neither in memory nor in swap."""
        return [
            (run.start, run.length)
            for run in self.runs(piece)
            if run.state == "unpopulated" or run.state.startswith("marker")
        ]

    def populate(self, piece: Piece) -> int:
        """Have the kernel bring in what is not there; return 0 or an errno."""
        from pagezap.commands.memory import advice

        spans = [(piece.start, piece.length)]
        number = advice.remote(self.pid, spans, advice.POPULATE_READ)
        if number not in advice.NOT_FROM_OUTSIDE:
            return number
        session = self.session
        if session is not None:
            return advice.by_agent(session, spans, advice.POPULATE_READ)
        return advice.injected(self.context.debugger, spans, advice.POPULATE_READ)

    def populate_error(self, piece: Piece, number: int) -> PagezapError:
        """Return the error for a piece that could not be brought in."""
        return UnsupportedError(
            f"{piece.label()}: its pages cannot be brought back ({os.strerror(number)})",
            hint="Memory that may not be read has no pages to bring back",
            kind="kernel-refused",
        )

    @cached_property
    def reports_forks(self) -> bool:
        """Whether a userfaultfd of the process tells of its forks; see userfaultfd(2).

        Also where it may make none, which is refused for that reason.
        """
        from pagezap.commands.session.preflight import everybody_may

        return procfs.has_capability(self.pid, procfs.CAP_SYS_PTRACE) or not everybody_may()

    def check_fillable(self, targets: Sequence[Target]) -> None:
        """Refuse memory that cannot be given a content."""
        for target in targets:
            for piece in target.pieces:
                hazards.refuse(hazards.of_keep(piece, ours=self.session is not None), force=False)


def within(piece: Piece, spans: Sequence[tuple[int, int]]) -> int:
    """Return how many of a piece's pages lie in spans of (start, length)."""
    return sum(
        max(0, min(start + length, piece.end) - max(start, piece.start)) // PAGE
        for start, length in spans
    )


def _joined(found: Sequence[MemoryRange]) -> list[MemoryRange]:
    """Join neighbours of one text: a registration splits what the user sees as one mapping."""
    joined: list[MemoryRange] = []
    for item in found:
        if joined and joined[-1].end == item.start and joined[-1].text == item.text:
            joined[-1] = joined[-1]._replace(length=joined[-1].length + item.length)
        else:
            joined.append(item)
    return joined


def _no_overlap(pieces: Sequence[Piece]) -> None:
    """Refuse ranges of which two share a page."""
    ordered = sorted(pieces, key=lambda piece: piece.start)
    for one, other in pairwise(ordered):
        if other.start < one.end:
            raise RangeError(
                f"Two of the ranges share the page at {other.start:#x}",
                hint="Give ranges that do not overlap",
                kind="overlapping-ranges",
            )
