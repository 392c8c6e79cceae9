"""Completion of options, choices, files, watch numbers and symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.options import COMMON_OPTIONS
from pagezap.commands.framework.parser import find_option, is_option
from pagezap.commands.framework.scan import words
from pagezap.debugger.errors import PagezapError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pagezap.commands.framework.command import Command
    from pagezap.commands.framework.options import Option
    from pagezap.commands.session.context import Context

SHORTHANDS = ("[heap]", "[stack]", "[anon:", "map:", "all")


def complete(command: Command, context: Context, text: str, word: str) -> list[str]:
    """Return completions of ``word``, the end of the argument text so far.

    The debugger decides what a word is: where it splits before a dash or a bracket,
    the completions are cut to what follows the split.
    """
    last = "" if not text or text[-1].isspace() else text.rsplit(maxsplit=1)[-1]
    prefix = last[: len(last) - len(word)] if word and last.endswith(word) else ""
    if not word:
        prefix = last
    candidates = _candidates(command, context, text[: len(text) - len(last)], last)
    return [item[len(prefix) :] for item in candidates if item.startswith(last)]


def _candidates(command: Command, context: Context, before: str, last: str) -> Iterable[str]:
    options = (*command.options, *COMMON_OPTIONS)
    given = [word.text for word in words(before)]
    if last.startswith("--") and "=" in last:
        name = last[2:].partition("=")[0]
        option = _option(name, options)
        return [f"--{name}={value}" for value in _values(option, context, last.partition("=")[2])]
    if last.startswith("-"):
        return [f"--{option.name}" for option in options]
    if given and is_option(given[-1]) and "=" not in given[-1]:
        option = _option(given[-1][2:], options)
        if option is not None and option.takes_value and not option.optional:
            return _values(option, context, last)
    plain = [item for item in given if not is_option(item)]
    if len(plain) < len(command.operands.leading):
        return command.complete_leading(len(plain))
    return _operands(command, context, last)


def _option(name: str, options: Sequence[Option]) -> Option | None:
    try:
        return find_option(name, options)
    except PagezapError:
        return None


def _values(option: Option | None, context: Context, word: str) -> Sequence[str]:
    if option is None:
        return ()
    if option.choices:
        return option.choices
    if option.complete == "symbol":
        return context.debugger.complete_symbol(word)
    if option.complete == "file":
        return files(word)
    return ()


def _operands(command: Command, context: Context, last: str) -> Sequence[str]:
    operands = command.operands
    if operands.complete == "watch":
        session = context.session()
        return [] if session is None else [str(watch.id) for watch in session.watches.all()]
    if operands.complete == "file":
        return files(last)
    if not operands.ranges:
        return ()
    fixed = [form for form in SHORTHANDS if last and form.startswith(last)]
    if last.startswith("["):
        # An expression does not begin so, but versions of the C library's symbols do.
        return fixed
    stem = last.lstrip("*&(")
    head = last[: len(last) - len(stem)]
    if not stem:
        return SHORTHANDS if not last else ()
    symbols = [head + name for name in context.debugger.complete_symbol(stem)]
    return [*fixed, *symbols]


def files(word: str) -> list[str]:
    """Return the paths that begin with ``word``."""
    from glob import escape, glob

    return sorted(glob(escape(word) + "*"))
