"""``uffd-status``: the helper, the agent, the pages by state, the counters."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.debugger.errors import NoInferiorError

if TYPE_CHECKING:
    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.session.context import Context

COUNTERS = (
    "faults",
    "served_missing",
    "served_wp",
    "hits",
    "signals",
    "forks",
    "removes",
    "unmaps",
    "remaps",
    "trace_events",
    "trace_dropped",
)

FEATURES = (
    "pagefault-flag-wp",
    "event-fork",
    "event-remap",
    "event-remove",
    "missing-hugetlbfs",
    "missing-shmem",
    "event-unmap",
    "sigbus",
    "thread-id",
    "minor-hugetlbfs",
    "minor-shmem",
    "exact-address",
    "wp-hugetlbfs-shmem",
    "wp-unpopulated",
    "poison",
    "wp-async",
    "move",
)
"""Names of the feature bits of userfaultfd, from bit 0 on; see linux/userfaultfd.h."""

NUMBERS = (
    "kept_pages",
    "kept_bytes",
    "kept_stash",
    "kept_store",
    "filled_pages",
    "zapped_pages",
    "managed_pages",
    "watched_pages",
    "store_bytes",
    "watches",
    *COUNTERS,
)
"""Everything that is a number, and 0 without a session."""


class StatusResult(Result):
    """The state of the session, or that there is none."""

    def __init__(self, body: dict[str, object]) -> None:
        """Show the body that JSON has."""
        self._body = body

    def json(self) -> dict[str, object]:
        """Return the keys that commands.md fixes."""
        return self._body

    def text(self) -> str:
        """Return a line a figure."""
        if self._body["helper"] is None:
            return "No session: nothing of pagezap is in the inferior"
        lines = []
        for name, value in self._body.items():
            shown = value
            if isinstance(value, dict):
                shown = ", ".join(f"{key} {item}" for key, item in value.items())
            elif isinstance(value, list):
                shown = " ".join(map(str, value)) or "none"
            elif value is None:
                shown = "gone"
            lines.append(f"{name.replace('_', ' '):<15} {shown}")
        return "\n".join(lines)


class UffdStatus(Command):
    """Shows the state of the session."""

    name = "uffd-status"
    summary = "Show the helper, the agent, pages by state and counters"
    description = """\
Without a session `helper' and `agent' are null and every number is 0; `inferior' is
null where there is no process, `agent' also where somebody has killed it."""

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Ask the helper."""
        del arguments
        session = context.session()
        if session is None:
            return StatusResult(_empty(context))
        hello, status = session.client.hello, session.client.status()
        kept = status.kept_stash + status.kept_store
        page = _page_size()
        body: dict[str, object] = {
            "helper": {
                "pid": hello.helper_pid,
                "rss_kib": status.rss_kib,
                "uptime_s": status.uptime_us / 1_000_000,
            },
            "agent": {"pid": hello.agent_pid} if _serves(hello.agent_pid) else None,
            "inferior": {"pid": session.pid},
            "features": [
                name for bit, name in enumerate(FEATURES) if hello.uffd_features >> bit & 1
            ],
            "kept_pages": kept,
            "kept_bytes": kept * page,
            "kept_stash": status.kept_stash,
            "kept_store": status.kept_store,
            "filled_pages": status.filled,
            "zapped_pages": status.zapped,
            "managed_pages": status.managed_pages,
            "watched_pages": status.watched_pages,
            "store_bytes": status.store_bytes,
            "watches": len(session.watches.all()),
        }
        body.update({name: getattr(status, name) for name in COUNTERS})
        return StatusResult(body)


def _empty(context: Context) -> dict[str, object]:
    """Return what there is to say where there is no session."""
    body: dict[str, object] = {"helper": None, "agent": None, "inferior": None, "features": []}
    with suppress(NoInferiorError):
        body["inferior"] = {"pid": context.debugger.inferior().pid}
    body.update(dict.fromkeys(NUMBERS, 0))
    return body


def _serves(agent: int) -> bool:
    """Return whether there is such an agent: somebody may have killed it."""
    from pagezap.debugger import procfs

    return procfs.alive(agent) and procfs.status(agent)["Name"] == procfs.AGENT_NAME


def _page_size() -> int:
    from pagezap.commands.memory.target import PAGE

    return PAGE
