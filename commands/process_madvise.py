"""``process-madvise``: give the kernel advice on the inferior's memory."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.commands.framework.options import RANGE_OPTION, Operands, Option
from pagezap.debugger.errors import HazardError, InjectionError, PagezapError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.memory.scene import Scene
    from pagezap.commands.memory.target import Piece
    from pagezap.commands.session.context import Context


class Advised:
    """What became of the advice on one piece of memory."""

    def __init__(self, piece: Piece, before: int, after: int, via: str, number: int) -> None:
        """Note pages in memory before and after, the way, and 0 or an errno."""
        self.piece = piece
        self.before = before
        self.after = after
        self.via = via
        self.number = number

    def json(self) -> dict[str, object]:
        """Return the piece as JSON shows it."""
        reason = os.strerror(self.number) if self.number else ""
        return self.piece.outcome(self.before, self.after, self.via, reason)


class AdviceResult(Result):
    """What became of the advice."""

    def __init__(self, advice: str, pieces: Sequence[Advised]) -> None:
        """Collect the pieces; one that the kernel refused makes the result a failure."""
        self._advice = advice
        self._pieces = pieces
        refused = [piece for piece in pieces if piece.number]
        if refused:
            self.failure = refusal(advice, refused[0].piece, refused[0].number)

    def json(self) -> dict[str, object]:
        """Return the pieces."""
        return {"advice": self._advice, "ranges": [piece.json() for piece in self._pieces]}

    def text(self) -> str:
        """Return a line a piece."""
        from pagezap.commands.memory.text import count, span

        return "\n".join(
            f"{span(item.piece.start, item.piece.length)} {item.piece.name}: "
            + (
                f"refused: {os.strerror(item.number)}"
                if item.number
                else f"{self._advice} by {item.via}, {count(item.piece.pages, 'page')}, "
                f"{item.before} resident before, {item.after} after"
            )
            for item in self._pieces
        )


class ProcessMadvise(Command):
    """Gives the kernel advice."""

    name = "process-madvise"
    summary = "Give the kernel advice on memory of the inferior, as madvise(2)"
    description = """\
Where the kernel takes the advice from outside it is given from there; else by the
agent where there is a session, else by a system call injected into the inferior.
The range is rounded out to whole pages, but in for advice that loses content. That
is refused unless --force is given. Names are those of madvise(2) in lower case."""
    options = (
        Option("force", "give advice that loses content all the same"),
        RANGE_OPTION,
    )
    operands = Operands("RANGE", ranges=True, required=True, leading=("ADVICE",), complete="symbol")
    examples = (
        ("process-madvise pageout [heap]", "writes the heap out to swap"),
        ("process-madvise cold buf, +1M", "lets the kernel reclaim these pages first"),
    )

    def complete_leading(self, index: int) -> Sequence[str]:
        """Return the names of the advices."""
        from pagezap.commands.memory.advice import ADVICE

        del index
        return tuple(ADVICE)

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Check everything, then advise."""
        from pagezap.commands.memory import advice, hazards
        from pagezap.commands.memory.scene import Scene
        from pagezap.commands.memory.text import count

        number = advice.number(arguments.leading[0])
        name = next(key for key, value in advice.ADVICE.items() if value == number)
        loses = name in advice.DESTRUCTIVE
        force = arguments.flag("force")
        scene = Scene(context)
        targets = scene.targets(
            arguments.ranges, rounding="in" if loses else "out", purpose="process-madvise"
        )
        pieces = [piece for target in targets for piece in target.pieces]
        stacks = scene.stacks() if loses else ()
        for piece in pieces:
            found = hazards.everywhere(piece, ours=scene.session is not None or not loses)
            if loses:
                found = hazards.of_drop(piece, ours=scene.session is not None, stacks=stacks)
            hazards.refuse(found, force=force)
        if loses and not force:
            raise HazardError(
                f"{name} loses the content of "
                f"{count(sum(piece.pages for piece in pieces), 'page')}",
                hint="--force does it all the same; zap tells more beforehand",
                kind="destructive",
            )
        with scene.hidden():
            done = [_advise(scene, piece, number) for piece in pieces]
        result = AdviceResult(name, done)
        if result.failure is not None and all(item.number for item in done):
            raise result.failure
        return result


def _advise(scene: Scene, piece: Piece, number: int) -> Advised:
    from pagezap.commands.memory import advice, pages

    before = pages.resident(scene.counts(piece))
    spans = [(piece.start, piece.length)]
    via, result = "remote", advice.remote(scene.pid, spans, number)
    if result in advice.NOT_FROM_OUTSIDE:
        if scene.session is not None:
            via, result = "agent", advice.by_agent(scene.session, spans, number)
        else:
            via, result = "inject", advice.injected(scene.context.debugger, spans, number)
    return Advised(piece, before, pages.resident(scene.counts(piece)), via, result)


def refusal(name: str, piece: Piece, number: int) -> PagezapError:
    """Return the error for a piece on which the kernel refused the advice."""
    hints = {
        errno.EINVAL: "This kernel does not take that advice on this kind of memory",
        errno.EPERM: "It takes more privilege",
        errno.ENOMEM: "Part of the range is not mapped",
    }
    return InjectionError(
        f"{piece.label()}: {name} was refused ({os.strerror(number)})",
        hint=hints.get(number, ""),
        kind="kernel-refused",
    )
