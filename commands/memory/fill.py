"""The content that ``--fill`` names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pagezap.commands.framework.options import Option
from pagezap.commands.memory.text import count
from pagezap.debugger.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.memory.target import Piece, Target
    from pagezap.native.control import Client

ZERO, BYTE, FILE = 0, 1, 2
"""Kinds of content in the control protocol."""

BYTE_VALUES = 256

OPTION = Option(
    "fill",
    "let the next access find this instead: zeros, one byte value, or a file's content, "
    "taken from the start of the range",
    metavar="zero|BYTE|FILE",
    complete="file",
)


class Fill:
    """A content for pages: zeros, a byte, or an open file."""

    def __init__(self, kind: int, *, byte: int = 0, path: str = "", length: int = 0) -> None:
        """Name the content; ``length`` is that of the file."""
        self.kind = kind
        self.byte = byte
        self.path = path
        self.length = length

    def check(self, targets: Sequence[Target]) -> None:
        """Refuse a file that does not cover what it is to fill. Raises UsageError."""
        if self.kind != FILE:
            return
        if len(targets) != 1 or len(targets[0].pieces) != 1:
            raise UsageError(
                "A file fills one range of one mapping",
                hint="Give the command once for each range",
                kind="bad-fill",
            )
        target, piece = targets[0], targets[0].pieces[0]
        needed = piece.end - target.start
        if piece.start < target.start or self.length < needed:
            raise UsageError(
                f"{self.path} has {count(self.length, 'byte')}, the pages want {needed}"
                if piece.start >= target.start
                else "A file cannot fill a page of which the range covers only the end",
                hint="Use a longer file or a range of whole pages",
                kind="bad-fill",
            )

    def apply(self, client: Client, target: Target, piece: Piece) -> int:
        """Give the content to a piece's pages; what they held is gone. Return how many."""
        return self.apply_span(client, target, piece.start, piece.length)

    def apply_span(self, client: Client, target: Target, start: int, length: int) -> int:
        """Give the content to some of a target's pages; return how many."""
        if self.kind != FILE:
            return client.fill_byte(start, length, self.byte).pages
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return client.fill_file(start, length, descriptor, start - target.start).pages
        finally:
            os.close(descriptor)


def parse(text: str) -> Fill:
    """Return the content that the option's value names. Raises UsageError."""
    if text == "zero":
        return Fill(ZERO)
    try:
        byte = int(text, 0)
    except ValueError:
        return _file(text)
    if not 0 <= byte < BYTE_VALUES:
        raise UsageError(
            f"Fill byte {text} is not between 0 and 255",
            hint="For a file of that name write ./" + text,
            kind="bad-fill",
        )
    return Fill(BYTE, byte=byte)


def _file(text: str) -> Fill:
    path = os.path.expanduser(text)
    try:
        length = os.stat(path).st_size
    except OSError as error:
        raise UsageError(
            f"Cannot fill from {text}: {error.strerror}",
            hint="--fill takes zero, a byte from 0 to 255, or a file",
            kind="bad-fill",
        ) from error
    return Fill(FILE, path=path, length=length)
