"""Cutting a gdb script into its commands, by the rules of gdb's cli-script.c.

gdb itself tells nobody of the commands in a file, and its machine interface takes single
lines. So a block with its ``end`` is cut out here and given to gdb as a file of its own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pagezap.debugger.errors import PagezapError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def _names(full: str, least: int) -> frozenset[str]:
    """Return the beginnings of a command's name that gdb takes for it."""
    return frozenset(full[:length] for length in range(least, len(full) + 1))


COMPILE = _names("compile", 5) | _names("expression", 4)
DOCUMENT = _names("document", 3)
INLINE = frozenset({"python", "py", "guile", "gu"}) | COMPILE
"""What has a body only where nothing follows on the line."""
NESTING = frozenset({"if", "while", "define"}) | _names("commands", 4)
ACTIONS = _names("actions", 3)
STEPPING = frozenset({"ws"}) | _names("while-stepping", 6) | _names("stepping", 5)
NAME = re.compile(r"\s*([\w.-]*)")
NO_CODE = re.compile(r"(c|co|cod|code|p|pr|pri|prin|print)(\s+[-/]\w*)*")
"""A subcommand of ``compile`` and its options without what is to be compiled."""


def name(command: str) -> str:
    """Return the name that a command begins with, to the end of what gdb takes for one."""
    found = NAME.match(command)
    return found[1] if found else ""


def commands(path: str) -> Iterator[str]:
    """Yield the commands of a script, a block up to its ``end`` as one of several lines.

    Raises PagezapError where the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise PagezapError(f"Cannot read script {path}: {error.strerror}", kind="usage") from error
    block: list[str] = []
    verbatim: list[bool] = []
    """Of each block that is open, whether its body is text and no commands."""
    for line in _lines(text.split("\n")):
        plain = line.replace("\\\n", "").strip(" \t")
        if not verbatim and (not plain or plain.startswith("#")):
            continue
        block.append(line)
        if verbatim and plain == "end":
            verbatim.pop()
        elif not (verbatim and verbatim[-1]):
            body = _body(plain, nested=bool(verbatim))
            if body is not None:
                verbatim.append(body == "text")
        if not verbatim:
            yield "\n".join(block)
            block = []
    if block:
        yield "\n".join(block)


def _lines(lines: Iterable[str]) -> Iterator[str]:
    """Join lines that end in a backslash with those that follow; the backslashes stay."""
    pending = ""
    for line in lines:
        pending += line
        if line.endswith("\\"):
            pending += "\n"
        else:
            yield pending
            pending = ""
    if pending:
        yield pending


def _body(line: str, *, nested: bool) -> str | None:
    """Return what the body that a line opens consists of, ``text`` or ``commands``, or None."""
    word = name(line)
    rest = line[len(word) :].strip()
    if word in NESTING or word in STEPPING or (word in ACTIONS and not nested):
        return "commands"
    if word in INLINE and not rest:
        return "text"
    if nested:
        return None
    if (word in DOCUMENT and rest) or (word in COMPILE and NO_CODE.fullmatch(rest)):
        return "text"
    return None
