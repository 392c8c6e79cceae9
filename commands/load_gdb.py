"""Loads the commands into gdb: ``python import pagezap.commands.load_gdb``.

Importing it twice does nothing; sourcing it again neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.registry import register
from pagezap.commands.session.context import Context
from pagezap.debugger.backends import gdb_calls as backend

if TYPE_CHECKING:
    from pagezap.debugger.api import Debugger


class _Loaded:
    """What this gdb has of us."""

    context: Context | None = None


def _register(debugger: Debugger) -> None:
    if _Loaded.context is None:
        _Loaded.context = Context(debugger)
        register(_Loaded.context)


def context() -> Context:
    """Return the context of this gdb."""
    if _Loaded.context is None:
        raise RuntimeError("pagezap is not loaded")
    return _Loaded.context


def stop_json() -> str:
    """Return the hit that the inferior stands at as one line of JSON; see stop_json.py."""
    from pagezap.commands.stop_json import stop_line

    return stop_line(context())


backend.load(_register)
