"""``pagezap doctor``: what this machine allows, without a debugger."""

from __future__ import annotations

import sys

from pagezap.commands.framework.boundary import to_line
from pagezap.commands.memory.checks import collect, render
from pagezap.debugger.errors import NoInferiorError


def run(pid: int | None, *, as_json: bool) -> int:
    """Print the checks, of the machine and of a process where one is given."""
    try:
        checks = collect(pid)
    except NoInferiorError as error:
        raise NoInferiorError(
            f"No program runs as process {pid}",
            hint="Without --pid only the machine is looked at",
        ) from error
    if as_json:
        body = {"command": "doctor", "ok": True, "checks": [check.json() for check in checks]}
        sys.stdout.write(to_line(body))
    else:
        sys.stdout.write(render(checks) + "\n")
    return 0
