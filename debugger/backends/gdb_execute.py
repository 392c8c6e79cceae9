"""gdb's own commands run by us, of which ``set trace-commands on`` is to show nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import gdb

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE = "trace-commands"


def execute(command: str) -> str:
    """Run a command and return what it says."""
    text: str = gdb.execute(command, to_string=True)
    if text.startswith("+") and gdb.parameter(TRACE):
        return text.partition("\n")[2]
    return text


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Run what the body gives to gdb without a trace of it, where its output is the user's."""
    traced = gdb.parameter(TRACE)
    if traced:
        execute(f"set {TRACE} off")
    try:
        yield
    finally:
        if traced:
            execute(f"set {TRACE} on")
