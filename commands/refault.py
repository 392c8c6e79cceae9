"""``refault``: bring pages back now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.commands.framework.options import OPTIONAL_RANGES, RANGE_OPTION, Option
from pagezap.commands.memory import fill
from pagezap.debugger.errors import PagezapError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.memory.fill import Fill
    from pagezap.commands.memory.scene import Scene
    from pagezap.commands.memory.target import Piece, Target
    from pagezap.commands.session.context import Context


class Outcome:
    """What came back of one piece of memory. Numbers are pages."""

    def __init__(self, name: str, start: int, length: int, pages: int) -> None:
        """Start with nothing done."""
        self.name = name
        self.start = start
        self.length = length
        self.pages = pages
        self.refaulted = 0
        self.already_resident = 0
        self.source = "none"

    def json(self) -> dict[str, object]:
        """Return the outcome as JSON shows it."""
        return {
            "start": self.start,
            "length": self.length,
            "mapping": self.name,
            "pages": self.pages,
            "refaulted": self.refaulted,
            "already_resident": self.already_resident,
            "source": self.source,
        }


class RefaultResult(Result):
    """What a refault brought back."""

    def __init__(self, outcomes: Sequence[Outcome], failure: PagezapError | None = None) -> None:
        """Collect the outcomes."""
        self.outcomes = outcomes
        self.failure = failure

    def json(self) -> dict[str, object]:
        """Return the keys that commands.md fixes."""
        return {"ranges": [outcome.json() for outcome in self.outcomes]}

    def text(self) -> str:
        """Return a line a range, of many ranges the first ones and the sum."""
        from pagezap.commands.memory.text import count, shortened, span

        if not self.outcomes:
            return "No page is kept"
        lines = [
            f"{span(outcome.start, outcome.length)} {outcome.name}: "
            f"{count(outcome.pages, 'page')}, {outcome.refaulted} brought back"
            f"{'' if outcome.source == 'none' else f' from {outcome.source}'}, "
            f"{outcome.already_resident} were there"
            for outcome in self.outcomes
        ]
        back = sum(outcome.refaulted for outcome in self.outcomes)
        return shortened(lines, f"in all {count(back, 'page')} brought back")


class Refault(Command):
    """Brings pages back."""

    name = "refault"
    summary = "Bring memory pages of the inferior back now"
    description = """\
Kept pages come back with their content, pages swapped out come back from swap, pages
of a file from the file, and zapped anonymous pages as zeros. `source' says which.
With --fill the pages that are not there come back with that content instead; pages
that are there are left as they are. --all brings back every page that is kept."""
    options = (
        Option("all", "every kept page of the inferior"),
        fill.OPTION,
        RANGE_OPTION,
    )
    operands = OPTIONAL_RANGES
    examples = (
        ("refault --all", "brings back all that zap --keep took away"),
        ("refault table", "brings back the pages of one object"),
    )

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Bring the pages back."""
        from pagezap.commands.memory.scene import Scene

        everything = arguments.flag("all")
        if everything == bool(arguments.ranges):
            raise UsageError(
                "Give either a RANGE or --all",
                hint="refault --all brings back every kept page",
                kind="missing-argument" if not everything else "extra-argument",
            )
        text = arguments.value("fill")
        content = None if text is None else fill.parse(text)
        scene = Scene(context)
        if everything:
            if content is not None:
                raise UsageError(
                    "--fill wants a RANGE", hint="Name what to fill", kind="conflicting-options"
                )
            return RefaultResult(_all(scene))
        targets = scene.targets(arguments.ranges, rounding="out", purpose="refault")
        if content is not None:
            content.check(targets)
            scene.check_fillable(targets)
        return _ranges(scene, targets, content)


def _all(scene: Scene) -> list[Outcome]:
    """Bring back what the session holds."""
    session = scene.session
    if session is None:
        return []
    outcomes = []
    with session.hidden():
        for start, length in scene.held_spans():
            reply = session.client.refault(start, length)
            outcome = Outcome(scene.name_at(start), start, length, length // scene.page_size)
            outcome.refaulted = reply.refaulted
            outcome.already_resident = reply.already_resident
            outcome.source = "stash"
            outcomes.append(outcome)
    return outcomes


def _ranges(scene: Scene, targets: Sequence[Target], content: Fill | None) -> Result:
    if content is not None:
        scene.require_session()
    outcomes: list[Outcome] = []
    failure: PagezapError | None = None
    with scene.hidden():
        for target in targets:
            for piece in target.pieces:
                try:
                    outcomes.append(_piece(scene, target, piece, content))
                except PagezapError as error:
                    if failure is None:
                        failure = error
                    outcomes.append(Outcome(piece.name, piece.start, piece.length, piece.pages))
    if failure is not None and len(outcomes) == 1:
        raise failure
    return RefaultResult(outcomes, failure)


def _piece(scene: Scene, target: Target, piece: Piece, content: Fill | None) -> Outcome:
    """Bring one piece back and count what came from where."""
    from pagezap.commands.memory import pages

    outcome = Outcome(piece.name, piece.start, piece.length, piece.pages)
    before = scene.counts(piece)
    held = scene.held(piece)
    outcome.already_resident = pages.resident(before)
    if content is not None:
        session = scene.require_session()
        for start, length in scene.absent_spans(piece):
            content.apply_span(session.client, target, start, length)
        session.client.refault(piece.start, piece.length)
        outcome.source = "fill"
    else:
        if held and scene.session is not None:
            scene.session.client.refault(piece.start, piece.length)
        outcome.source = _source(piece, before, held)
    number = scene.populate(piece) if pages.resident(scene.counts(piece)) < piece.pages else 0
    after = pages.resident(scene.counts(piece))
    outcome.refaulted = max(0, after - outcome.already_resident)
    if not outcome.refaulted:
        outcome.source = "none"
        if number:
            raise scene.populate_error(piece, number)
    return outcome


def _source(piece: Piece, before: dict[str, int], held: int) -> str:
    sources = []
    if held:
        sources.append("stash")
    if before.get("swapped"):
        sources.append("swap")
    absent = piece.pages - held - before.get("swapped", 0) - before.get("resident", 0)
    if absent > 0:
        sources.append("zero" if piece.anonymous else "file")
    return sources[0] if len(sources) == 1 else "mixed" if sources else "none"
