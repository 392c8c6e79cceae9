"""What a command is, and what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.options import NO_OPERANDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.options import Operands, Option
    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.session.context import Context
    from pagezap.debugger.errors import PagezapError


class Result:
    """What a command found or did; text and JSON are two renderings of it.

    ``failure`` is set where a part was refused and another done: the result is shown
    all the same, and then the command fails with it.
    """

    failure: PagezapError | None = None

    def json(self) -> dict[str, object]:
        """Return the command's own keys; ``command`` and ``ok`` are added to them."""
        raise NotImplementedError

    def text(self) -> str:
        """Return what a person reads."""
        raise NotImplementedError


class Command:
    """One command, declared once: its parser, help, completion and docs come from here."""

    name: str
    summary: str
    """One line, without a full stop."""
    description: str = ""
    """Paragraphs, separated by blank lines."""
    options: Sequence[Option] = ()
    operands: Operands = NO_OPERANDS
    examples: Sequence[tuple[str, str]] = ()
    """Pairs of a command line and what it does."""

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Do the work. Raises PagezapError where nothing was done."""
        raise NotImplementedError

    def complete_leading(self, index: int) -> Sequence[str]:
        """Return the candidates for the leading word number ``index``."""
        del index
        return ()

    def usage(self) -> str:
        """Return the usage line."""
        pieces = [self.name]
        pieces += [f"[{option.usage()}]" for option in self.options]
        pieces.append(self.operands.usage())
        return " ".join(piece for piece in pieces if piece)
