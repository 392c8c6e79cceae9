"""One fault, round trip: the helper against the least handler in the same process.

Run with the test inferior's program and, in PAGEZAP_NATIVE_DIR, a build:

    cc -O2 -pthread -o /tmp/inferior tests/native/inferior.c
    PYTHONPATH=tests/native python tests/native/bench_fault.py /tmp/inferior
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from selfhost import PAGE, Inferior, session

if TYPE_CHECKING:
    from pagezap.native.control import Client

PAGES = 8192
ROUNDS = 5
MADV_DONTNEED = 4


def _median(line: str) -> float:
    return float(line.split()[1])


def _helper(inferior: Inferior, client: Client, *, copy: bool) -> float:
    """Faults of pages that are empty, or whose content the stash holds."""
    if copy:
        inferior.ask("fill", 1)
    client.keep(inferior.buffer, PAGES * PAGE)
    touched = _median(inferior.ask("touch", 0, PAGES))
    client.refault()
    inferior.ask("madvise", 0, PAGES * PAGE, MADV_DONTNEED)
    return touched


def main() -> None:
    """Print medians in microseconds, and the ratios to the pinned floor."""
    with session(Path(sys.argv[1]), PAGES * PAGE) as (inferior, client):
        inferior.ask("fill", 1)
        inferior.ask("madvise", 0, PAGES * PAGE, MADV_DONTNEED)
        floor = {}
        for pinned in (True, False):
            os.sched_setaffinity(inferior.pid, {0} if pinned else os.sched_getaffinity(0))
            for copy in (False, True):
                ours = statistics.median(
                    _helper(inferior, client, copy=copy) for _ in range(ROUNDS)
                )
                least = statistics.median(
                    _median(inferior.ask("floor", PAGES, int(pinned), int(copy)))
                    for _ in range(ROUNDS)
                )
                if pinned:
                    floor[copy] = least
                print(
                    "pinned" if pinned else "unpinned",
                    "content" if copy else "empty",
                    f"least {least:.2f} helper {ours:.2f} ratio {ours / floor[copy]:.2f}",
                )


if __name__ == "__main__":
    main()
