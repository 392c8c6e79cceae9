"""Reads what a debugger showed at watch hits."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pathlib

HIT = re.compile(
    r"^Uffd watchpoint (?P<watch>\d+): (?P<text>.*)\n"
    r"(?P<access>read|write|access) at (?P<address>0x[0-9a-f]+)(?P<extra>.*)\n"
    r"(?:Old: (?P<old>[0-9a-f ]+)(?:… \(\d+ bytes\))?\n)?"
    r"(?:New: (?P<new>[0-9a-f ]+)(?:… \(\d+ bytes\))?\n)?",
    re.MULTILINE,
)


class Hit(NamedTuple):
    watch: int
    address: int
    access: str
    old: bytes
    new: bytes
    extra: str
    """What follows the address on its line: name, thread, system call."""


def shown(text: str) -> list[Hit]:
    """Every hit in a debugger's output, in its order."""
    return [
        Hit(
            int(match["watch"]),
            int(match["address"], 16),
            match["access"],
            bytes.fromhex(match["old"] or ""),
            bytes.fromhex(match["new"] or ""),
            match["extra"],
        )
        for match in HIT.finditer(text)
    ]


def collected(path: pathlib.Path) -> list[dict[str, Any]]:
    """What inside.collect() noted; asserts that it got to its end."""
    stops = [json.loads(line) for line in path.read_text().splitlines()]
    assert stops, "no stop at all"
    assert stops[-1] == {"end": True}, stops[-3:]
    return stops[:-1]
