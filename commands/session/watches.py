"""The watches of one session: their numbers, filters and counters.

The helper only knows ranges; what a hit must satisfy to stop the inferior
(thread, condition, ignore count) is decided here, in the debugger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.debugger.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagezap.debugger.api import Debugger
    from pagezap.native.control import Client


class Watch:
    """One watched range. Addresses and lengths are bytes."""

    def __init__(
        self,
        number: int,
        *,
        start: int,
        length: int,
        kind: str,
        mode: str,
        text: str,
        condition: str | None,
        thread: int | None,
        ignore: int,
        temporary: bool,
    ) -> None:
        """Describe watch ``number``; nothing is armed yet."""
        self.id = number
        self.start = start
        self.length = length
        self.kind = kind
        """``write``; ``read`` and ``access`` where the kernel has them."""
        self.mode = mode
        """``stop`` or ``trace``."""
        self.text = text
        """The range as the user wrote it."""
        self.condition = condition
        self.thread = thread
        """The debugger's number of the only thread that counts, or None."""
        self.ignore = ignore
        """Hits that are still to be passed over."""
        self.temporary = temporary
        self.hits = 0
        self.enabled = True
        self.pages = 0
        """Pages that the watch protects."""

    @property
    def end(self) -> int:
        """The first address after the range."""
        return self.start + self.length

    def overlaps(self, address: int, length: int) -> bool:
        """Return whether ``length`` bytes at ``address`` touch the watched bytes."""
        return address < self.end and self.start < address + length


class WatchTable:
    """The watches of one session, by number, armed in its helper."""

    def __init__(self, debugger: Debugger, client: Client) -> None:
        """Start with no watches."""
        self._debugger = debugger
        self._client = client
        self._watches: dict[int, Watch] = {}
        self._next = 1
        self.armed = False
        """Whether the helper's stops are awaited: from the first watch that stops until none
        is left, nor a signal of one on its way."""

    def create(
        self,
        *,
        start: int,
        length: int,
        kind: str,
        mode: str,
        text: str,
        condition: str | None = None,
        thread: int | None = None,
        ignore: int = 0,
        temporary: bool = False,
    ) -> Watch:
        """Arm a new watch and return it. Nothing is kept of one that the helper refuses."""
        watch = Watch(
            self._next,
            start=start,
            length=length,
            kind=kind,
            mode=mode,
            text=text,
            condition=condition,
            thread=thread,
            ignore=ignore,
            temporary=temporary,
        )
        if mode == "stop":
            self._arm()
        watch.pages = self._client.watch_add(
            watch.id, start, length, trace=mode == "trace", write_only=kind == "write"
        )
        self._next += 1
        self._watches[watch.id] = watch
        return watch

    def get(self, number: int) -> Watch:
        """Return a watch by number. Raises UsageError where there is none."""
        try:
            return self._watches[number]
        except KeyError:
            raise UsageError(
                f"No uffd watchpoint number {number}",
                hint="Nothing is changed; uffd-list shows them",
                kind="no-such-watch",
            ) from None

    def delete(self, number: int) -> None:
        """Disarm and forget a watch."""
        watch = self.get(number)
        self._client.watch_delete(watch.id)
        del self._watches[watch.id]

    def enable(self, number: int, enabled: bool) -> None:
        """Arm or disarm a watch that stays in the table."""
        watch = self.get(number)
        if enabled and watch.mode == "stop":
            self._arm()
        self._client.watch_enable(watch.id, enabled)
        watch.enabled = enabled

    def all(self) -> list[Watch]:
        """Return every watch, by number."""
        return [self._watches[number] for number in sorted(self._watches)]

    def stopping(self) -> Iterator[Watch]:
        """Yield the enabled watches that stop the inferior."""
        return (w for w in self.all() if w.enabled and w.mode == "stop")

    def any_stopping(self) -> bool:
        """Return whether any enabled watch is one that stops."""
        return any(True for _ in self.stopping())

    def _arm(self) -> None:
        self._debugger.arm_stop_signal()
        self.armed = True
