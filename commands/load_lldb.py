"""Loads the commands into lldb: ``script import pagezap.commands.load_lldb``.

Importing it twice does nothing.
"""

from __future__ import annotations

from typing import Any

from pagezap.commands.framework.registry import register
from pagezap.commands.session.context import Context
from pagezap.debugger.backends import lldb as backend

_contexts: dict[int, Context] = {}


def load(native: Any) -> Context:
    """Give an SBDebugger the commands, once."""
    number = int(native.GetID())
    if number not in _contexts:
        _contexts[number] = Context(backend.LldbDebugger(native))
        register(_contexts[number])
    return _contexts[number]


def __lldb_init_module(native: Any, _internal: Any) -> None:
    """Called by ``command script import``."""
    load(native)
