"""``pagezap recover``: bring back what a session left in a process."""

from __future__ import annotations

import errno
import sys

from pagezap.commands.framework.boundary import to_line
from pagezap.commands.memory.text import count
from pagezap.debugger.errors import HelperError, NoInferiorError, PermissionRefusedError

NOBODY = (errno.ENOENT, errno.ECONNREFUSED)


def run(pid: int, *, as_json: bool) -> int:
    """Ask the process's helper to release everything. A keeper does so by itself."""
    from pagezap.native.control import Client, ControlError

    try:
        client = Client.connect(pid)
    except ControlError as error:
        if error.errno in NOBODY:
            raise HelperError(
                f"Nothing serves process {pid}: there is nothing to recover",
                hint="A keeper whose helper has died brings pages back by itself; pagemap-check "
                "in a debugger shows what is there",
                kind="nothing-to-recover",
            ) from error
        if error.errno in {errno.EPERM, errno.EACCES}:
            raise PermissionRefusedError(
                f"The helper of process {pid} belongs to another user", hint="Run this as root"
            ) from error
        if error.errno == errno.ESRCH:
            raise NoInferiorError(f"No program runs as process {pid}") from error
        raise HelperError(
            f"The helper of process {pid} does not answer: {error.strerror}", hint="Try again"
        ) from error
    try:
        refaulted = client.release()
    except ControlError as error:
        raise HelperError(
            f"Not every page of process {pid} could be brought back: {error}",
            hint="What is away stays with its helper; try again",
        ) from error
    if as_json:
        sys.stdout.write(to_line({"command": "recover", "ok": True, "refaulted": refaulted}))
    else:
        pages = count(refaulted, "page")
        sys.stdout.write(f"Brought back {pages} of process {pid} and ended its helper\n")
    return 0
