"""How lldb is connected to an inferior: to a live process here, on another machine, to a core."""

from __future__ import annotations

from typing import Any

import lldb

from pagezap.debugger import procfs
from pagezap.debugger.errors import NoInferiorError

LIVE = "gdb-remote"
"""The process plug-in for whatever runs: lldb starts an lldb-server also for what is local."""
GONE = frozenset({lldb.eStateInvalid, lldb.eStateUnloaded, lldb.eStateDetached, lldb.eStateExited})


def alive(process: Any) -> bool:
    """Return whether there is a process, be it a core file's."""
    return bool(process.IsValid()) and process.GetState() not in GONE


def check_live_and_local(process: Any) -> int:
    """Return the pid of a live process of this machine. Raises NoInferiorError."""
    if not alive(process):
        raise NoInferiorError("There is no live process", hint="attach to one or run a program")
    plugin = process.GetPluginName()
    if plugin != LIVE:
        raise NoInferiorError(
            "A core file is no live process",
            hint="attach to a process or run a program",
            kind="core",
        )
    pid = int(process.GetProcessID())
    if not procfs.traced_by_server(pid):
        platform = process.GetTarget().GetPlatform().GetName()
        raise NoInferiorError(
            f"The process is on another machine ({platform})",
            hint="run lldb and pagezap on that machine",
            kind="remote",
        )
    return pid
