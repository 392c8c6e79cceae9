"""Hooks of gdb's commands, as a user defines them, that call us before a command runs."""

from __future__ import annotations

import gdb

from pagezap.debugger.backends.gdb_execute import execute

HOOK = """define {hook}
python import pagezap.debugger.backends.gdb_calls as g; g.{call}
end
document {hook}
{purpose}
end"""


def define_hook(command: str, call: str, purpose: str) -> None:
    """Run ``call``, of ``gdb_calls``, before ``command``.

    Not where the user has a hook there already, nor where MI does the same by another name.
    """
    *prefix, name = command.split()
    hook = " ".join([*prefix, f"hook-{name}"])
    try:
        execute(f"show user {hook}")
    except gdb.error:
        execute(HOOK.format(hook=hook, call=call, purpose=purpose))
