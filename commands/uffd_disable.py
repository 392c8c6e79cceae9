"""``uffd-disable``: disable watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command
from pagezap.commands.framework.options import Operands

if TYPE_CHECKING:
    from pagezap.commands.framework.command import Result
    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.session.context import Context


class UffdDisable(Command):
    """Disables watches."""

    name = "uffd-disable"
    summary = "Disable uffd watchpoints"
    operands = Operands("N", required=True, complete="watch")
    examples = (("uffd-disable 1 3-5", "disarms, and keeps in the list, four watches"),)

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Disable the watches; none where one of the numbers is unknown."""
        from pagezap.commands.memory.toggling import toggle

        return toggle(context, arguments, enabled=False)
