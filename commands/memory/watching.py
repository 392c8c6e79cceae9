"""What the commands on watches share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.debugger.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.session.context import Context
    from pagezap.commands.session.session import Session
    from pagezap.commands.session.watches import Watch


def body(watch: Watch) -> dict[str, object]:
    """Return a watch as JSON shows it."""
    return {
        "id": watch.id,
        "start": watch.start,
        "length": watch.length,
        "kind": watch.kind,
        "mode": watch.mode,
        "pages": watch.pages,
        "text": watch.text,
        "hits": watch.hits,
        "enabled": watch.enabled,
        "condition": watch.condition,
        "thread": watch.thread,
        "ignore": watch.ignore,
        "temporary": watch.temporary,
    }


def numbers(words: Sequence[str]) -> list[int]:
    """Return watch numbers, ``2-4`` as gdb's lists have it. Raises UsageError."""
    found: list[int] = []
    for word in words:
        first, dash, last = word.partition("-")
        try:
            low = int(first)
            high = int(last) if dash else low
        except ValueError:
            low, high = 1, 0
        if low > high or low < 1:
            raise UsageError(
                f"{word} is no watch number",
                hint="Numbers are 1, 2, ... or 2-4; uffd-list shows them",
                kind="bad-number",
            )
        found.extend(number for number in range(low, high + 1) if number not in found)
    return found


def chosen(context: Context, words: Sequence[str]) -> tuple[Session, list[Watch]]:
    """Return the watches of the given numbers, all of which exist. Raises UsageError."""
    wanted = numbers(words)
    session = context.session()
    if session is None:
        raise UsageError(
            f"No uffd watchpoint number {wanted[0]}",
            hint="There are none: uffd-watch makes one",
            kind="no-such-watch",
        )
    return session, [session.watches.get(number) for number in wanted]
