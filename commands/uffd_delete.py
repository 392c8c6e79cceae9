"""``uffd-delete``: delete watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.commands.framework.options import Operands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.session.context import Context


class DeleteResult(Result):
    """The numbers of the watches that are gone."""

    def __init__(self, deleted: Sequence[int]) -> None:
        """Name the numbers."""
        self._deleted = deleted

    def json(self) -> dict[str, object]:
        """Return the numbers."""
        return {"deleted": list(self._deleted)}

    def text(self) -> str:
        """Return nothing: gdb's ``delete`` says nothing either."""
        return ""


class UffdDelete(Command):
    """Deletes watches."""

    name = "uffd-delete"
    summary = "Delete uffd watchpoints, all of them where no number is given"
    operands = Operands("N", complete="watch")
    examples = (("uffd-delete 1 3-5", "deletes four watches"),)

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Delete the watches; none where one of the numbers is unknown."""
        from pagezap.commands.memory.watching import chosen

        if arguments.words:
            session, watches = chosen(context, arguments.words)
        else:
            current = context.session()
            if current is None:
                return DeleteResult([])
            session, watches = current, current.watches.all()
        with session.hidden():
            for watch in watches:
                session.watches.delete(watch.id)
        return DeleteResult([watch.id for watch in watches])
