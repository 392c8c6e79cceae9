"""Splitting a command line without touching the expressions in it.

A range is an expression of the debugger's language, with its own quotes, brackets
and commas, so nothing here unquotes or collapses: it only finds the blanks that lie
outside of quotes and brackets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENING = "([{"
CLOSING = ")]}"
QUOTES = "\"'"


class Word:
    """A piece of the line between blanks, with its place."""

    __slots__ = ("end", "start", "text")

    def __init__(self, text: str, start: int, end: int) -> None:
        """Name the text from ``start`` up to ``end`` of the line."""
        self.text = text
        self.start = start
        self.end = end


def quote_end(text: str, start: int) -> int:
    """Return the index after the quote that opens at ``start``.

    A quote that never closes (C++ ``1'000``, a Rust lifetime) is an ordinary character.
    """
    index = start + 1
    while index < len(text):
        if text[index] == "\\":
            index += 2
            continue
        if text[index] == text[start]:
            return index + 1
        index += 1
    return start + 1


def word_end(text: str, start: int) -> int:
    """Return the end of the word at ``start``: the next blank outside quotes and brackets."""
    index, depth = start, 0
    while index < len(text):
        char = text[index]
        if char in QUOTES:
            index = quote_end(text, index)
            continue
        if char in OPENING:
            depth += 1
        elif char in CLOSING:
            depth = max(0, depth - 1)
        elif char.isspace() and depth == 0:
            break
        index += 1
    if depth and index >= len(text):
        # A bracket that never closes must not swallow the options behind it.
        plain = start
        while plain < len(text) and not text[plain].isspace():
            plain += 1
        return plain
    return index


def words(text: str, start: int = 0) -> Iterator[Word]:
    """Yield the words of ``text`` from ``start`` on."""
    index = start
    while index < len(text):
        if text[index].isspace():
            index += 1
            continue
        end = word_end(text, index)
        yield Word(text[index:end], index, end)
        index = end


def unquote(value: str) -> str:
    """Take the quotes off an option's value that is one quoted string as a whole."""
    enclosed = len(value) > 1 and value[0] in QUOTES and quote_end(value, 0) == len(value)
    return value[1:-1] if enclosed and value[-1] == value[0] else value
