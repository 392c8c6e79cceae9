"""Where the kernel's books and pagezap's knowledge differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.memory import pages
from pagezap.commands.memory.target import PAGE, REGISTRATION
from pagezap.commands.memory.text import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pagezap.commands.memory.scene import Scene
    from pagezap.commands.memory.target import Piece

KEPT, ZAPPED, FILL = "kept", "zapped", "fill"
STATES = ("resident", "swapped", "zero", "unpopulated", KEPT, ZAPPED, FILL, "marker", "file")
"""Every state that is counted, so that each is always there, if 0."""

PRESENT = frozenset({"resident", "zero", "file"})
SHOWN_FINDINGS = 100
"""Findings of one kind that are listed; the last sums up the rest."""


class Finding:
    """One place where two sources differ, and who would be misled."""

    def __init__(
        self,
        kind: str,
        severity: str,
        start: int,
        length: int,
        detail: str,
        consequence: str,
        number: int | None = None,
    ) -> None:
        """Describe ``length`` bytes at ``start``; ``number`` of the pages are meant."""
        self.kind = kind
        self.severity = severity
        self.start = start
        self.length = length
        self.pages = length // PAGE if number is None else number
        self.detail = detail
        self.consequence = consequence

    def json(self) -> dict[str, object]:
        """Return the finding as JSON shows it."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "start": self.start,
            "length": self.length,
            "pages": self.pages,
            "detail": self.detail,
            "consequence": self.consequence,
        }


class Checker:
    """Reads pieces of the inferior once, and compares. Short-lived: one command."""

    def __init__(self, scene: Scene, pieces: Sequence[Piece]) -> None:
        """Read pagemap and the ledger; the session, where there is one, is hidden."""
        self._scene = scene
        # At a stop a range may be registered in another way than the inferior runs with.
        self._pieces = scene.again(pieces)
        self._ledger = scene.ledger()
        self._runs = [(piece, scene.runs(piece)) for piece in self._pieces]
        self.counts = self._count()

    def _count(self) -> dict[str, int]:
        counts = dict.fromkeys(STATES, 0)
        for piece, runs in self._runs:
            for run in pages.overlay(runs, self._ledger):
                state = "marker" if run.state.startswith("marker") else run.state
                if state == "resident" and not piece.anonymous:
                    state = "file"
                counts[state] = counts.get(state, 0) + run.length // PAGE
                if state == "marker":
                    counts[run.state] = counts.get(run.state, 0) + run.length // PAGE
        return counts

    def findings(self) -> list[Finding]:
        """Return everything found, errors first."""
        sources: Sequence[Callable[[], Iterable[Finding]]] = (
            self._ledger_findings,
            self._marker_findings,
            self._watch_findings,
            self._registration_findings,
            self._smaps_findings,
        )
        order = {"error": 0, "warning": 1, "info": 2}
        found = [finding for source in sources for finding in source()]
        return sorted(found, key=lambda finding: order[finding.severity])

    def _ledger_findings(self) -> Iterator[Finding]:
        for _, runs in self._runs:
            for run, known in pages.pairs(runs, self._ledger):
                there = run.state in PRESENT or run.state == "swapped"
                number = count(run.length // PAGE, "page")
                if known == KEPT and not there:
                    yield Finding(
                        "kept-not-populated",
                        "info",
                        run.start,
                        run.length,
                        f"{number} held by pagezap, {run.state} in pagemap",
                        "RSS, mincore, core dumps and checkpoints leave these pages out",
                    )
                elif known == KEPT:
                    yield Finding(
                        "kept-but-resident",
                        "error",
                        run.start,
                        run.length,
                        f"{number} held by pagezap are {run.state} in the inferior as well",
                        "two contents for one page: the one in the inferior is what it sees",
                    )
                elif known == ZAPPED and there:
                    yield Finding(
                        "zapped-but-populated",
                        "info",
                        run.start,
                        run.length,
                        f"{number} were zapped and are {run.state} again",
                        "the inferior has touched them since: they hold new content",
                    )
                elif known == FILL and not there:
                    yield Finding(
                        "fill-not-populated",
                        "info",
                        run.start,
                        run.length,
                        f"{number} whose content waits for the next access",
                        "RSS, core dumps and checkpoints leave these pages out",
                    )

    def _marker_findings(self) -> Iterator[Finding]:
        for piece, runs in self._runs:
            for prefix, kind, detail, consequence in (
                (
                    "marker",
                    "marker-reads-as-swap",
                    "empty with a marker, which pagemap shows as swapped out",
                    "tools that count bit 62 of pagemap report swap that is not there",
                ),
                (
                    "zero",
                    "zero-page",
                    "mapped to the shared page of zeros",
                    "pagemap shows them as present, smaps' Rss does not count them",
                ),
            ):
                hit = [run for run in runs if run.state.startswith(prefix)]
                if hit:
                    number = sum(run.length for run in hit) // PAGE
                    yield Finding(
                        kind,
                        "info",
                        hit[0].start,
                        hit[-1].start + hit[-1].length - hit[0].start,
                        f"{count(number, 'page')} of {piece.name} {detail}",
                        consequence,
                        number,
                    )

    def _watch_findings(self) -> Iterator[Finding]:
        session = self._scene.session
        if session is None:
            return
        for watch in session.watches.all():
            if not watch.enabled:
                continue
            low = watch.start - watch.start % PAGE
            high = -(-watch.end // PAGE) * PAGE
            for piece in self._pieces:
                start, end = max(low, piece.start), min(high, piece.end)
                if start >= end:
                    continue
                for first, length in pages.unprotected(
                    self._scene.pid, start, end - start, missing="um" in piece.flags
                ):
                    traced = watch.mode == "trace"
                    yield Finding(
                        "watch-open" if traced else "watch-lost",
                        "warning" if traced else "error",
                        first,
                        length,
                        f"{count(length // PAGE, 'page')} of uffd watchpoint {watch.id} "
                        "not write-protected",
                        "of these pages the first write is recorded already; the next stop arms "
                        "them again"
                        if traced
                        else "writes to them go unseen",
                    )

    def _registration_findings(self) -> Iterator[Finding]:
        session = self._scene.session
        if session is None:
            return
        needed = [
            (start, length, "kept pages")
            for start, length, state in self._ledger
            if state in {KEPT, FILL}
        ]
        needed += [
            (watch.start, watch.length, f"uffd watchpoint {watch.id}")
            for watch in session.watches.all()
            if watch.enabled
        ]
        for mapping in self._scene.mappings:
            if REGISTRATION & set(mapping.flags):
                continue
            for start, length, what in needed:
                low, high = max(start, mapping.start), min(start + length, mapping.end)
                inside = any(low < piece.end and piece.start < high for piece in self._pieces)
                if low < high and inside:
                    low -= low % PAGE
                    high = -(-high // PAGE) * PAGE
                    yield Finding(
                        "registration-lost",
                        "error",
                        low,
                        high - low,
                        f"{what} in {mapping.name}, which no userfaultfd has registered",
                        "missing pages read as zeros there, and writes go unseen",
                    )

    def _smaps_findings(self) -> Iterator[Finding]:
        from pagezap.commands.memory.smaps import figures

        booked = figures(self._scene.pid)
        for piece, runs in self._runs:
            rows = booked.get(piece.start)
            whole = piece.start == piece.mapping_start and piece.end == piece.mapping_end
            if rows is None or not whole or not piece.anonymous or rows.get("Size") != piece.length:
                continue
            there = sum(run.length for run in runs if run.state in {"resident", "file"})
            swapped = sum(run.length for run in runs if run.state == "swapped")
            for name, seen in (("Rss", there), ("Swap", swapped)):
                if rows.get(name, 0) != seen:
                    yield Finding(
                        "smaps-differs",
                        "warning",
                        piece.start,
                        piece.length,
                        f"smaps counts {rows.get(name, 0) // 1024} KiB of {name} in {piece.name}, "
                        f"pagemap {seen // 1024} KiB",
                        "one of the two misleads whoever reads it",
                        abs(rows.get(name, 0) - seen) // PAGE,
                    )
