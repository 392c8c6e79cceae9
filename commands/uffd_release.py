"""``uffd-release``: leave nothing of ours."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.debugger.errors import HelperError

if TYPE_CHECKING:
    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.session.context import Context
    from pagezap.commands.session.context import ReleaseResult as Released


class ReleaseResult(Result):
    """What the release did."""

    def __init__(self, released: Released, kept: int) -> None:
        """Show what the context reports; ``kept`` pages were held before.

        While the inferior is stopped kept pages are open to the debugger, so that for
        the helper there is nothing to bring back; for the user they come back now.
        """
        self._released = released
        self._refaulted = max(released.refaulted, kept)
        if released.left:
            self.failure = HelperError(
                f"Left in the inferior: {', '.join(released.left)}",
                hint="Its agent was killed, and no system call could be made to remove them",
                kind="left-behind",
            )

    def json(self) -> dict[str, object]:
        """Return whether there was a session, and the pages brought back."""
        return {"released": self._released.had_session, "refaulted": self._refaulted}

    def text(self) -> str:
        """Return one line."""
        if not self._released.had_session:
            return "No session: nothing to release"
        from pagezap.commands.memory.text import count

        return f"Released; {count(self._refaulted, 'page')} brought back"


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
        session = context.session()
        kept = 0
        if session is not None:
            with suppress(OSError):
                # A helper that is gone has no counters; its session is forgotten below.
                status = session.client.status()
                kept = status.kept_stash + status.kept_store
        return ReleaseResult(context.release(), kept)
