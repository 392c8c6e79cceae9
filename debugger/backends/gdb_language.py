"""What we hand to gdb's parser, whatever language and radix the user has set."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import gdb

from pagezap.debugger.backends.gdb_execute import execute

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def hexadecimal() -> Iterator[None]:
    """Let gdb take a number such as 0x10 in the body: Modula-2 does not.

    Digits alone would be read in the user's radix.
    """
    if _takes_hexadecimal():
        yield
        return
    language = gdb.parameter("language")
    execute("set language c")
    try:
        yield
    finally:
        execute(f"set language {language}")


def _takes_hexadecimal() -> bool:
    try:
        return int(gdb.parse_and_eval("0x10")) == 16
    except gdb.error:
        return False


def assign(variable: str, value: str) -> None:
    """Set a variable of gdb's as in C: an ``=`` compares in Ada, Pascal and Modula-2."""
    execute(f"with language c -- set var {variable} = {value}")
