"""``uffd-list``: the watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.session.context import Context
    from pagezap.commands.session.watches import Watch


class ListResult(Result):
    """The watches of the inferior."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        """Show ``watches``."""
        self._watches = watches

    def json(self) -> dict[str, object]:
        """Return the keys that commands.md fixes."""
        from pagezap.commands.memory.watching import body

        return {"watches": [body(watch) for watch in self._watches]}

    def text(self) -> str:
        """Return a table as gdb's ``info watchpoints`` has it."""
        from pagezap.commands.memory.text import count, table

        if not self._watches:
            return "No uffd watchpoints."
        rows = [("Num", "Type", "Disp", "Enb", "Address", "Length", "What")]
        rows += [
            (
                str(watch.id),
                f"{watch.kind} {'trace' if watch.mode == 'trace' else 'watch'}",
                "del" if watch.temporary else "keep",
                "y" if watch.enabled else "n",
                f"{watch.start:#x}",
                str(watch.length),
                watch.text,
            )
            for watch in self._watches
        ]
        lines = table(rows, right=(5,))
        shown = [lines[0]]
        for line, watch in zip(lines[1:], self._watches, strict=True):
            shown.append(line)
            if watch.condition is not None:
                shown.append(f"\tstop only if {watch.condition}")
            if watch.thread is not None:
                shown.append(f"\tstop only in thread {watch.thread}")
            if watch.hits:
                shown.append(f"\twatchpoint already hit {count(watch.hits, 'time')}")
            if watch.ignore:
                shown.append(f"\tignore next {count(watch.ignore, 'hit')}")
        return "\n".join(shown)


class UffdList(Command):
    """Lists the watches."""

    name = "uffd-list"
    summary = "List the uffd watchpoints"

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Return the watches; none where there is no session."""
        del arguments
        session = context.session()
        if session is None:
            return ListResult([])
        session.count_traced()
        return ListResult(session.watches.all())
