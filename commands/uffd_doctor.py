"""``uffd-doctor``: what can work here, and how to allow the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.debugger.errors import NoInferiorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.memory.checks import Check
    from pagezap.commands.session.context import Context


class DoctorResult(Result):
    """The checks."""

    def __init__(self, checks: Sequence[Check]) -> None:
        """Show ``checks``."""
        self._checks = checks

    def json(self) -> dict[str, object]:
        """Return the keys that commands.md fixes."""
        return {"checks": [check.json() for check in self._checks]}

    def text(self) -> str:
        """Return a line a check."""
        from pagezap.commands.memory.checks import render

        return render(self._checks)


class UffdDoctor(Command):
    """Tells what works here."""

    name = "uffd-doctor"
    summary = "Tell what this kernel, these privileges and this inferior allow"
    description = """\
A line a check: its name, yes or no, what it is for; below a `no' how to allow it.
Without an inferior only the machine is looked at. `pagezap doctor' does the same
outside a debugger."""

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Probe the machine, and the inferior where there is one."""
        from pagezap.commands.memory.checks import collect

        del arguments
        try:
            pid = context.debugger.inferior().pid
        except NoInferiorError:
            pid = None
        return DoctorResult(collect(pid, ours=context.session() is not None))
