"""Numbers and addresses as a person reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP = 1024


def size(length: int) -> str:
    """Return a number of bytes in the largest unit that keeps it readable."""
    value = float(length)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < STEP or unit == "GiB":
            return count(length, "byte") if unit == "bytes" else f"{value:.4g} {unit}"
        value /= STEP
    return f"{length} bytes"


def count(number: int, noun: str) -> str:
    """Return ``1 page``, ``2 pages``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def span(start: int, length: int) -> str:
    """Return a range of addresses, its end excluded."""
    return f"{start:#x}-{start + length:#x}"


def shortened(lines: Sequence[str], total: str) -> str:
    """Return the lines; of more than 20 the first ones, and what they all come to."""
    most = 20
    if len(lines) <= most:
        return "\n".join(lines)
    rest = count(len(lines) - most, "more range")
    return "\n".join([*lines[:most], f"and {rest} (--json lists them); {total}"])


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return rows as aligned lines; the columns named in ``right`` align right."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
