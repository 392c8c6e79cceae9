"""The argument parser: gdb-style options over a declaration, ranges left verbatim.

Rules, for every command alike:

* ``--name``, ``--name=VALUE``, ``--name VALUE``; a unique beginning of the name will do.
* Options stand before or after the operands. A word that begins with ``--`` and a
  letter is an option wherever it stands outside quotes and brackets; an expression
  that needs such a word (``a - --b``) is written in parentheses.
* A leading ``--`` ends the options; later ones separate ranges.
* ``-h`` asks for help, but not within a range: ``p -h`` stays an expression. A range that
  begins with it is written in parentheses, or after ``--``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.options import COMMON_OPTIONS
from pagezap.commands.framework.scan import unquote, words
from pagezap.debugger.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.options import Operands, Option

SEPARATOR = "--"


class Arguments:
    """What the user gave to one command."""

    def __init__(self) -> None:
        """Start with nothing given."""
        self.options: dict[str, list[str | None]] = {}
        self.leading: list[str] = []
        self.ranges: list[str] = []
        self.words: list[str] = []

    def flag(self, name: str) -> bool:
        """Return whether the option was given."""
        return name in self.options

    def value(self, name: str, default: str | None = None) -> str | None:
        """Return the option's last value; ``default`` where it has none or was not given."""
        given = self.options.get(name)
        return default if not given or given[-1] is None else given[-1]

    def values(self, name: str) -> list[str]:
        """Return every value that a repeated option was given."""
        return [value for value in self.options.get(name, []) if value is not None]


def find_option(name: str, options: Sequence[Option]) -> Option:
    """Return the option that ``name`` abbreviates. Raises UsageError."""
    matches = [option for option in options if option.name.startswith(name)]
    exact = [option for option in matches if option.name == name]
    if exact:
        return exact[0]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(f"--{option.name}" for option in matches)
        raise UsageError(
            f"Ambiguous option --{name}: {names}", hint="Write more of it", kind="ambiguous-option"
        )
    known = ", ".join(f"--{option.name}" for option in options)
    raise UsageError(f"Unknown option --{name}", hint=f"Options are {known}", kind="unknown-option")


def is_option(word: str) -> bool:
    """Return whether a word is written as an option."""
    return len(word) > len(SEPARATOR) and word.startswith(SEPARATOR) and word[2].isalpha()


def parse(text: str, options: Sequence[Option], operands: Operands) -> Arguments:
    """Parse the raw argument text of a command. Raises UsageError."""
    options = (*options, *COMMON_OPTIONS)
    arguments = Arguments()
    parts: list[list[str]] = [[]]
    ended = False
    pending: Option | None = None
    # Blanks between the words of one range are kept: they may stand in an expression.
    last_end = -1
    for word in words(text):
        if pending is not None:
            _store(arguments, pending, unquote(word.text))
            pending = None
            last_end = -1
        elif word.text == "-h" and not ended and not _in_range(parts, last_end, operands):
            arguments.options["help"] = [None]
        elif word.text == SEPARATOR:
            if not parts[-1] and len(parts) == 1:
                ended = True
            else:
                parts.append([])
            last_end = -1
        elif not ended and is_option(word.text):
            pending = _take_option(arguments, word.text[2:], options)
            last_end = -1
        else:
            gap = text[last_end : word.start] if last_end >= 0 else " " if parts[-1] else ""
            parts[-1].append(gap + word.text)
            last_end = word.end
    if pending is not None:
        raise UsageError(
            f"Option --{pending.name} needs a value",
            hint=f"Write {pending.usage()}",
            kind="missing-value",
        )
    if not arguments.flag("help"):
        _assign(arguments, ["".join(part) for part in parts], operands)
    return arguments


def _in_range(parts: Sequence[Sequence[str]], last_end: int, operands: Operands) -> bool:
    """Return whether the word to come goes on with the text of a range."""
    if not operands.ranges or last_end < 0:
        return False
    return len(parts) > 1 or len(parts[0]) > len(operands.leading)


def _take_option(arguments: Arguments, body: str, options: Sequence[Option]) -> Option | None:
    """Store one option; return it where its value is the next word."""
    name, equals, value = body.partition("=")
    option = find_option(name, options)
    if option.takes_value:
        if equals:
            _store(arguments, option, unquote(value))
        elif option.optional:
            _store(arguments, option, None)
        else:
            return option
    elif equals:
        raise UsageError(
            f"Option --{option.name} takes no value",
            hint=f"Write --{option.name}",
            kind="bad-value",
        )
    else:
        arguments.options[option.name] = [None]
    return None


def _store(arguments: Arguments, option: Option, value: str | None) -> None:
    """Check a value against its choices and keep it."""
    if value is not None and option.choices:
        matches = [choice for choice in option.choices if choice.startswith(value)]
        if value not in option.choices:
            if len(matches) != 1 or not value:
                raise UsageError(
                    f"Option --{option.name} cannot be {value or 'empty'}",
                    hint=f"It is one of {', '.join(option.choices)}",
                    kind="bad-value",
                )
            value = matches[0]
    given = arguments.options.setdefault(option.name, [])
    if given and not option.repeat:
        raise UsageError(
            f"Option --{option.name} is given twice", hint="Give it once", kind="repeated-option"
        )
    given.append(value)


def _assign(arguments: Arguments, parts: list[str], operands: Operands) -> None:
    """Distribute what is no option over the declared operands."""
    first = parts[0].strip()
    for name in operands.leading:
        word, _, first = first.partition(" ")
        if not word:
            raise UsageError(
                f"Missing {name}", hint=f"Arguments are {operands.usage()}", kind="missing-argument"
            )
        arguments.leading.append(word)
        first = first.strip()
    rest = [first, *(part.strip() for part in parts[1:])]
    if operands.ranges:
        _assign_ranges(arguments, rest, operands)
        return
    given = [word.text for part in rest for word in words(part)]
    if given and not operands.name:
        raise UsageError(
            f"Junk after the command: {given[0]}",
            hint="It takes options only" if not operands.leading else "",
            kind="extra-argument",
        )
    if len(given) > 1 and not operands.many:
        raise UsageError(f"One {operands.name} is wanted, not {len(given)}", kind="extra-argument")
    if not given and operands.required:
        raise UsageError(
            f"Missing {operands.name}",
            hint=f"Arguments are {operands.usage()}",
            kind="missing-argument",
        )
    arguments.words = given


def _assign_ranges(arguments: Arguments, parts: list[str], operands: Operands) -> None:
    """Collect the ranges from the text and from ``--range``."""
    if len(parts) > 1 and not all(parts):
        raise UsageError(
            "An empty range between two ' -- '",
            hint="Separate ranges as in: buf, +4096 -- table",
            kind="missing-argument",
        )
    ranges = [part for part in parts if part] + arguments.values("range")
    if not ranges and operands.required:
        raise UsageError(
            "Missing RANGE",
            hint="A range is START, +LENGTH or START, END or an object, or [heap], or all",
            kind="missing-argument",
        )
    if len(ranges) > 1 and not operands.many:
        raise UsageError(
            f"One range is wanted, not {len(ranges)}",
            hint="Give the command once for each range",
            kind="extra-argument",
        )
    arguments.ranges = ranges
