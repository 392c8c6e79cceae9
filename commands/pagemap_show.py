"""``pagemap-show``: the map of page states, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.commands.framework.options import OPTIONAL_RANGES, RANGE_OPTION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.memory.pages import LedgerRow, Run
    from pagezap.commands.memory.scene import Scene
    from pagezap.commands.memory.target import Piece
    from pagezap.commands.session.context import Context

SIGNS = {
    "kept": "K",
    "fill": "F",
    "resident": "#",
    "file": "f",
    "zero": "0",
    "swapped": "s",
    "marker-wp": "w",
    "marker-poison": "!",
    "marker-guard": "g",
    "zapped": "z",
    "unpopulated": ".",
}
"""State to sign. Of a cell with several states the first one here that it has is shown."""

LEFT = 32
"""Columns of the address and the page count."""

LEAST_CELLS = 16
MOST_ROWS = 16
"""Lines that one mapping is drawn in at most."""


class Drawn:
    """One piece of memory with its states."""

    def __init__(self, piece: Piece, runs: Sequence[Run], counts: Mapping[str, int]) -> None:
        """Take the runs, the ledger's knowledge laid over them."""
        self.piece = piece
        self.runs = runs
        self.counts = counts

    def json(self) -> dict[str, object]:
        """Return the piece as JSON shows it."""
        return {
            "start": self.piece.start,
            "length": self.piece.length,
            "mapping": self.piece.name,
            "perms": self.piece.mapping.perms,
            "pages": dict(self.counts),
            "runs": [[run.start, run.length, run.state] for run in self.runs],
        }


class ShowResult(Result):
    """The drawn map."""

    def __init__(self, drawn: Sequence[Drawn], width: int) -> None:
        """Show pieces on lines of ``width`` columns."""
        self._drawn = drawn
        self._width = width

    def json(self) -> dict[str, object]:
        """Return every run of every piece."""
        return {"ranges": [drawn.json() for drawn in self._drawn]}

    def text(self) -> str:
        """Return a heading and rows for each piece, and a legend of the signs used."""
        lines: list[str] = []
        used: set[str] = set()
        for drawn in self._drawn:
            lines.append(_heading(drawn))
            lines += _rows(drawn, max(LEAST_CELLS, self._width - LEFT), used)
        legend = "  ".join(f"{sign} {state}" for state, sign in SIGNS.items() if sign in used)
        return "\n".join([*lines, "", legend]) if lines else "Nothing is mapped"


class PagemapShow(Command):
    """Draws the map of page states."""

    name = "pagemap-show"
    summary = "Draw the map of page states"
    description = """\
A block a mapping: each sign stands for one page or, where there is no room, for as many
as the row says. Of several states in a sign the rarest is shown: what is kept before
what is resident before what is empty. Without a range everything is drawn."""
    options = (RANGE_OPTION,)
    operands = OPTIONAL_RANGES
    examples = (("pagemap-show [heap]", "draws the heap"),)

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Read the states that the inferior runs with."""
        from pagezap.commands.memory.scene import Scene

        scene = Scene(context)
        pieces = scene.pieces(arguments.ranges, purpose="pagemap-show")
        with scene.hidden():
            ledger = scene.ledger()
            drawn = [_draw(scene, piece, ledger) for piece in pieces]
        return ShowResult(drawn, _width())


def _draw(scene: Scene, piece: Piece, ledger: Sequence[LedgerRow]) -> Drawn:
    from pagezap.commands.memory import pages

    runs = list(pages.overlay(scene.runs(piece), ledger))
    return Drawn(piece, runs, pages.counts(runs))


def _width() -> int:
    """Return the columns of the terminal, 80 where there is none."""
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _heading(drawn: Drawn) -> str:
    from pagezap.commands.memory.text import size, span

    piece = drawn.piece
    states = ", ".join(f"{number} {state}" for state, number in drawn.counts.items())
    return (
        f"{span(piece.start, piece.length)} {piece.mapping.perms} {piece.name}: "
        f"{size(piece.length)}: {states}"
    )


def _rows(drawn: Drawn, cells: int, used: set[str]) -> list[str]:
    from pagezap.commands.memory.target import PAGE

    if len({run.state for run in drawn.runs}) == 1 and drawn.runs[0].state == "unpopulated":
        return []
    total = drawn.piece.pages
    scale = max(1, -(-total // (cells * MOST_ROWS)))
    signs = signs_of(drawn, scale)
    used.update(signs)
    rows = []
    for index in range(0, len(signs), cells):
        address = drawn.piece.start + index * scale * PAGE
        unit = "1 page" if scale == 1 else f"{scale} pages"
        head = f"  {address:#014x} {unit:>11}: "
        rows.append(head.ljust(LEFT) + "".join(signs[index : index + cells]))
    return rows


def signs_of(drawn: Drawn, scale: int) -> list[str]:
    """Return a sign for each ``scale`` pages."""
    from pagezap.commands.memory.target import PAGE

    ranks = {state: rank for rank, state in enumerate(SIGNS)}
    lowest = len(SIGNS) - 1
    best = [lowest] * -(-drawn.piece.pages // scale)
    for run in drawn.runs:
        first = (run.start - drawn.piece.start) // PAGE // scale
        last = ((run.start + run.length - drawn.piece.start) // PAGE - 1) // scale
        rank = ranks.get(run.state, lowest)
        for cell in range(first, last + 1):
            best[cell] = min(best[cell], rank)
    signs = list(SIGNS.values())
    return [signs[rank] for rank in best]
