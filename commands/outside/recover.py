"""``pagezap recover``: bring back what a session left in a process."""

from __future__ import annotations

import errno
import sys

from pagezap.commands.framework.boundary import to_line
from pagezap.commands.memory.text import count
from pagezap.debugger.errors import HelperError, NoInferiorError, PermissionRefusedError

NOBODY = (errno.ENOENT, errno.ECONNREFUSED)


def run(pid: int, *, as_json: bool) -> int:
    """Ask the process's helper, or the keeper in its place, to release everything."""
    from pagezap.native.control import Client, ControlError

    try:
        client = Client.connect(pid)
    except ControlError as error:
        if error.errno in NOBODY:
            raise HelperError(
                f"Nothing serves process {pid}: there is nothing to recover",
                hint="pagemap-check in a debugger shows the state of its pages",
                kind="nothing-to-recover",
            ) from error
        if error.errno in {errno.EPERM, errno.EACCES}:
            raise PermissionRefusedError(
                f"The helper of process {pid} belongs to another user", hint="Run this as root"
            ) from error
        raise NoInferiorError(f"No process {pid}: {error}") from error
    refaulted = client.release()
    if as_json:
        sys.stdout.write(to_line({"command": "recover", "ok": True, "refaulted": refaulted}))
    else:
        pages = count(refaulted, "page")
        sys.stdout.write(f"Brought back {pages} of process {pid} and ended its helper\n")
    return 0
