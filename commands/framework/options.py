"""The declaration of a command's options and operands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Option:
    """One long option of a command.

    ``metavar`` is None for a flag. With ``optional`` the value may be left out, and is
    then only taken from ``--name=value``.
    """

    __slots__ = ("choices", "complete", "help", "metavar", "name", "optional", "repeat")

    def __init__(
        self,
        name: str,
        help: str,  # noqa: A002 - the word that every option library uses
        *,
        metavar: str | None = None,
        optional: bool = False,
        repeat: bool = False,
        choices: Sequence[str] = (),
        complete: str = "",
    ) -> None:
        """Declare ``--name``; ``complete`` may be ``file`` or ``symbol``."""
        self.name = name
        self.help = help
        self.metavar = metavar
        self.optional = optional
        self.repeat = repeat
        self.choices = tuple(choices)
        self.complete = complete

    @property
    def takes_value(self) -> bool:
        """Whether the option has a value at all."""
        return self.metavar is not None

    def usage(self) -> str:
        """Return the option as a usage line shows it, without brackets."""
        if self.metavar is None:
            return f"--{self.name}"
        if self.optional:
            return f"--{self.name}[={self.metavar}]"
        return f"--{self.name} {self.metavar}"


class Operands:
    """What follows the options: leading words, then ranges or further words."""

    __slots__ = ("complete", "leading", "many", "name", "ranges", "required")

    def __init__(
        self,
        name: str = "",
        *,
        ranges: bool = False,
        required: bool = False,
        many: bool = True,
        leading: Sequence[str] = (),
        complete: str = "",
    ) -> None:
        """Declare operands.

        ``leading`` names required words before the rest. ``name`` is the rest, as the
        usage shows it; empty where there is none. With ``ranges`` the rest is range
        text, taken verbatim and separated by `` -- ``; else it is words.
        ``complete`` may be ``symbol``, ``watch`` or ``file``.
        """
        self.name = name
        self.ranges = ranges
        self.required = required
        self.many = many
        self.leading = tuple(leading)
        self.complete = complete

    def usage(self) -> str:
        """Return the operands as a usage line shows them."""
        words = list(self.leading)
        if self.name:
            rest = self.name
            if self.many:
                rest += f" [-- {self.name}]..." if self.ranges else "..."
            words.append(rest if self.required else f"[{rest}]")
        return " ".join(words)


NO_OPERANDS = Operands()

RANGES = Operands("RANGE", ranges=True, required=True, complete="symbol")
"""One range or more, as most commands that take memory want it."""

OPTIONAL_RANGES = Operands("RANGE", ranges=True, complete="symbol")

RANGE_OPTION = Option(
    "range", "a further RANGE; may be repeated", metavar="RANGE", repeat=True, complete="symbol"
)

ONE_RANGE_OPTION = Option("range", "the RANGE, as an option", metavar="RANGE", complete="symbol")
"""What a command has that takes one range only."""

COMMON_OPTIONS = (
    Option("json", "print exactly one JSON object on one line and nothing else"),
    Option("help", "show this help; -h for short"),
)
"""What every command has."""
