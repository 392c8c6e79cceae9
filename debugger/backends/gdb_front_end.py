"""A front end that speaks the machine interface: records that gdb 18 puts among a command's text.

What ``gdb.execute`` returns as text holds them where a front end gave the command. Older ones
send them on their own. They are passed on to descriptor 1 where gdb speaks the machine interface
there; what a ``new-ui`` opened is out of a script's reach.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import gdb

from pagezap.debugger.backends.gdb_signals import STOP_SIGNAL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagezap.debugger.api import Stop

INTERPRETER = "interpreter"
"""gdb's option, which may be cut short down to ``-i``."""


@functools.cache
def speaks() -> bool:
    """Return whether gdb was started with the machine interface."""
    with open("/proc/self/cmdline", "rb") as file:
        words = [word.decode(errors="replace") for word in file.read().split(b"\0")]
    for word, after in zip(words[1:], [*words[2:], ""], strict=True):
        name, _, value = word.lstrip("-").partition("=")
        if name in {"args", "a"} and word.startswith("-"):
            break
        if word.startswith("-") and name and INTERPRETER.startswith(name):
            return (value or after).startswith("mi")
    return False


def pass_result_on(text: str) -> None:
    """Pass the answer to the front end's command on, which it would wait for for ever."""
    if "^running" in text and speaks():
        _send(line for line in text.splitlines() if _is_result(line))


def pass_stop_on(text: str, stop: Stop) -> None:
    """Pass on all that came with a stop which is the user's to see."""
    told = stop.reason in {"signal", "breakpoint", "exited"} and stop.signal != STOP_SIGNAL
    if "*stopped" in text and told and speaks():
        _send(text.splitlines())


def _is_result(line: str) -> bool:
    token, mark, word = line.partition("^")
    return bool(mark) and word == "running" and (not token or token.isdigit())


def _send(lines: Iterable[str]) -> None:
    gdb.flush()
    os.write(1, "".join(f"{line}\n" for line in lines).encode())
