"""The states of pages, told apart."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from selfhost import PAGE, session

from pagezap.native import pagemap

MADV_POPULATE_READ = 22
MADV_GUARD_INSTALL = 102


def _states(pid: int, start: int, length: int) -> list[tuple[int, str]]:
    return [((r.start - start) // PAGE, r.state) for r in pagemap.scan(pid, start, length)]


def test_states_of_a_range(program: Path) -> None:
    with session(program) as (inferior, client):
        base = inferior.buffer
        assert _states(inferior.pid, base, inferior.length) == [(0, "unpopulated")]
        inferior.ask("write", 4 * PAGE, 1)
        inferior.ask("write", 5 * PAGE, 1)
        inferior.ask("madvise", 8 * PAGE, PAGE, MADV_POPULATE_READ)
        assert inferior.ask("madvise", 12 * PAGE, PAGE, MADV_GUARD_INSTALL) == "0"
        client.watch_add(1, base + 20 * PAGE, 2 * PAGE)
        assert _states(inferior.pid, base, 32 * PAGE) == [
            (0, "unpopulated"),
            (4, "resident"),
            (6, "unpopulated"),
            (8, "zero"),
            (9, "unpopulated"),
            (12, "marker-guard"),
            (13, "unpopulated"),
            (20, "marker-wp"),
            (22, "unpopulated"),
        ]
        client.keep(base + 4 * PAGE, PAGE)
        assert _states(inferior.pid, base + 4 * PAGE, 2 * PAGE) == [
            (0, "unpopulated"),
            (1, "resident"),
        ]
        runs = pagemap.scan(inferior.pid, base, inferior.length)
        assert sum(r.length for r in runs) == inferior.length
        plain = pagemap.scan_entries(inferior.pid, base, inferior.length)
        told = [(r.start, r.length, r.state) for r in plain if r.state.startswith("marker")]
        assert told == [(r.start, r.length, r.state) for r in runs if r.state.startswith("marker")]


def test_files() -> None:
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    line = next(x for x in maps if x.endswith(os.path.realpath(sys.executable)) or "libc" in x)
    start, end = (int(part, 16) for part in line.split()[0].split("-"))
    assert "file" in {r.state for r in pagemap.scan(os.getpid(), start, end - start)}


@pytest.mark.parametrize("state", ["unpopulated", "swapped", "marker-wp", "marker-poison"])
def test_entries(state: str) -> None:
    entries = {
        "unpopulated": 0,
        "swapped": 1 << 62 | 5 << 5 | 2,
        "marker-wp": 1 << 62 | 1 << 5 | 31,
        "marker-poison": 1 << 62 | 2 << 5 | 31,
    }
    assert pagemap.entry_state(entries[state]) == state
