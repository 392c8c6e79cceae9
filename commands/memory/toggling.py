"""What ``uffd-enable`` and ``uffd-disable`` share: they differ in one word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.session.context import Context
    from pagezap.commands.session.watches import Watch


class ToggleResult(Result):
    """The watches whose state was set."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        """Show ``watches``."""
        self._watches = watches

    def json(self) -> dict[str, object]:
        """Return the watches as ``uffd-list`` does."""
        from pagezap.commands.memory.watching import body

        return {"watches": [body(watch) for watch in self._watches]}

    def text(self) -> str:
        """Return nothing: gdb's ``enable`` says nothing either."""
        return ""


def toggle(context: Context, arguments: Arguments, *, enabled: bool) -> Result:
    """Set the state of the chosen watches; of none where one is unknown."""
    from pagezap.commands.memory.watching import chosen

    session, watches = chosen(context, arguments.words)
    with session.hidden():
        for watch in watches:
            session.watches.enable(watch.id, enabled)
    return ToggleResult(watches)
