"""``uffd-release``: leave nothing of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result

if TYPE_CHECKING:
    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.session.context import Context
    from pagezap.commands.session.context import ReleaseResult as Released


class ReleaseResult(Result):
    """What the release did."""

    def __init__(self, released: Released) -> None:
        """Show what the context reports."""
        self._released = released

    def json(self) -> dict[str, object]:
        """Return whether there was a session, and the pages brought back."""
        return {"released": self._released.had_session, "refaulted": self._released.refaulted}

    def text(self) -> str:
        """Return one line."""
        if not self._released.had_session:
            return "No session: nothing to release"
        from pagezap.commands.memory.text import count

        return f"Released; {count(self._released.refaulted, 'page')} brought back"


class UffdRelease(Command):
    """Ends the session."""

    name = "uffd-release"
    summary = "Bring everything back and leave nothing of pagezap in the inferior"
    description = """\
Kept pages come back, watches are deleted, the registration, the agent, its memory and
its descriptors go, and the helper ends. Detaching, quitting and the end of a script
do the same by themselves. Without a session it does nothing."""

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Release."""
        del arguments
        return ReleaseResult(context.release())
