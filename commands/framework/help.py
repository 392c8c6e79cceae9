"""Help text of a command, derived from its declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.options import COMMON_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pagezap.commands.framework.command import Command

WIDTH = 79
OPTION_COLUMN = 26


def wrap(text: str, indent: int = 0, first: str | None = None) -> list[str]:
    """Break one paragraph into lines of at most WIDTH characters."""
    lines: list[str] = []
    line = first if first is not None else " " * indent
    empty = first is None
    for word in text.split():
        if not empty and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line, empty = " " * indent, True
        line += word if empty or line.endswith(" ") else f" {word}"
        empty = False
    return [*lines, line]


def _paragraphs(text: str) -> Iterable[str]:
    return (part for part in text.split("\n\n") if part.strip())


def _option_lines(command: Command) -> list[str]:
    lines: list[str] = []
    for option in (*command.options, *COMMON_OPTIONS):
        head = f"  {option.usage()}"
        text = option.help
        if len(head) < OPTION_COLUMN - 1:
            lines += wrap(text, OPTION_COLUMN, head.ljust(OPTION_COLUMN))
        else:
            lines += [head, *wrap(text, OPTION_COLUMN)]
    return lines


RANGE_FORMS: Sequence[tuple[str, str]] = (
    ("START, +LENGTH", "LENGTH bytes from START; K, M and G mean powers of 1024"),
    ("START, END", "up to, not including, END"),
    ("OBJECT", "an object sized by its type: table, *node, grid[3], *p@64"),
    ("[heap] [stack] [anon:NAME]", "that mapping"),
    ("map:TEXT", "every mapping whose path contains TEXT"),
    ("all", "every private anonymous mapping except stacks"),
)


def help_text(command: Command) -> str:
    """Return the whole help of a command."""
    lines = [f"{command.summary}.", *wrap(command.usage(), 8, "Usage:"), ""]
    for paragraph in _paragraphs(command.description):
        lines += [*wrap(paragraph), ""]
    lines += ["Options (a unique beginning of a name will do):", *_option_lines(command)]
    if command.operands.ranges:
        lines += ["", "RANGE is one of:"]
        for form, meaning in RANGE_FORMS:
            lines += wrap(meaning, 30, f"  {form}".ljust(30))
    if command.examples:
        lines += ["", "Examples:"]
        for example, meaning in command.examples:
            lines += [f"  {example}", *wrap(meaning, 6)]
    return "\n".join(lines)
