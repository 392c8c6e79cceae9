"""Figures of /proc/PID/smaps, by mapping."""

from __future__ import annotations

from pagezap.debugger.procread import living


def figures(pid: int) -> dict[int, dict[str, int]]:
    """Return by start address what smaps counts of each mapping, in bytes."""
    found: dict[int, dict[str, int]] = {}
    current: dict[str, int] = {}
    with open(f"/proc/{living(pid)}/smaps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, colon, rest = line.partition(":")
            if colon and " " not in name and "-" not in name:
                words = rest.split()
                if len(words) == 2 and words[1] == "kB":
                    current[name] = int(words[0]) * 1024
            elif "-" in line:
                current = {}
                found[int(line.partition("-")[0], 16)] = current
    return found


def field(pid: int, start: int, name: str) -> int:
    """Return one figure of the mapping at ``start`` in bytes, 0 where it has none."""
    try:
        return figures(pid).get(start, {}).get(name, 0)
    except OSError:
        return 0
