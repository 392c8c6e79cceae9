"""How gdb is connected to an inferior: natively, to a server, to a core file.

``gdb.Inferior.connection`` would say so, but gdb 13 aborts where such an object outlives
its target, as one does when an interrupt comes in the wrong moment. ``info inferiors``
costs 12 µs, so nothing is remembered.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pagezap.debugger import procfs
from pagezap.debugger.backends.gdb_execute import execute
from pagezap.debugger.errors import NoInferiorError

LOCAL_HOSTS = frozenset({"", "localhost", "127.0.0.1", "[::1]", "::1"})
CONNECTION = re.compile(r"\s\d+ \((?P<kind>[a-z][a-z-]*)(?: (?P<details>.*))?\)\s")
"""The third column: ``1 (native)``, ``2 (extended-remote localhost:2345)``."""


class Connection(NamedTuple):
    """What ``info inferiors`` says of an inferior's connection."""

    kind: str
    """``native``, ``remote``, ``extended-remote``, ``core``; empty where there is none."""
    details: str = ""
    """What was given to ``target remote``."""


def connection(inferior: int) -> Connection:
    """Return the connection of the inferior with gdb's number ``inferior``."""
    for line in execute(f"info inferiors {inferior}").splitlines()[1:]:
        found = CONNECTION.search(line + " ")
        if found:
            return Connection(found["kind"], found["details"] or "")
    return Connection("")


def check_live_and_local(native: Any) -> None:
    """Raise NoInferiorError where gdb's inferior is no process on this machine."""
    there = connection(native.num)
    if there.kind == "core":
        raise NoInferiorError(
            "A core file is no live process",
            hint="attach to a process or run a program",
            kind="core",
        )
    if not native.pid or not native.threads():
        raise NoInferiorError("There is no live process", hint="attach to one or run a program")
    if "remote" in there.kind and not _is_local(native, there.details):
        raise NoInferiorError(
            f"The process is on another machine ({there.details})",
            hint="run gdb and pagezap on that machine",
            kind="remote",
        )


def _is_local(native: Any, details: str) -> bool:
    """Return whether a remote target's process is one of this machine."""
    host = details.removeprefix("tcp:").rpartition(":")[0]
    if host not in LOCAL_HOSTS and not details.startswith(("|", "/", "unix:")):
        return False
    return procfs.traced_by_server(native.pid)
