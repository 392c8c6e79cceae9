"""Looks at a process from outside, by /proc alone: nothing of pagezap's own is trusted."""

from __future__ import annotations

import hashlib
import os
import pathlib
import struct
import time
from typing import NamedTuple

PAGE = 4096


class Region(NamedTuple):
    start: int
    end: int
    perms: str
    path: str


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return state(pid) not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def state(pid: int) -> str:
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def status(pid: int, tid: int | None = None) -> dict[str, str]:
    path = f"/proc/{pid}/status" if tid is None else f"/proc/{pid}/task/{tid}/status"
    lines = pathlib.Path(path).read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def tids(pid: int) -> list[int]:
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))


def regions(pid: int) -> list[Region]:
    found = []
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        start, _, end = fields[0].partition("-")
        path = fields[5] if len(fields) > 5 else ""
        found.append(Region(int(start, 16), int(end, 16), fields[1], path))
    return found


def merged(pid: int) -> list[Region]:
    """Mappings with neighbours of one kind joined: a split VMA is no leak."""
    joined: list[Region] = []
    for region in regions(pid):
        last = joined[-1] if joined else None
        if last and (last.end, last.perms, last.path) == (
            region.start,
            region.perms,
            region.path,
        ):
            joined[-1] = last._replace(end=region.end)
        else:
            joined.append(region)
    return joined


def vm_flags(pid: int) -> set[str]:
    """Every flag that any mapping has."""
    flags: set[str] = set()
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if line.startswith("VmFlags:"):
            flags.update(line.split()[1:])
    return flags


def descriptors(pid: int) -> dict[int, str]:
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
    return found


def pagemap(pid: int, start: int, length: int) -> list[int]:
    """The raw entries of whole pages."""
    count = length // PAGE
    with open(f"/proc/{pid}/pagemap", "rb") as file:
        data = os.pread(file.fileno(), 8 * count, start // PAGE * 8)
    return list(struct.unpack(f"<{count}Q", data))


def present(pid: int, start: int, length: int) -> list[bool]:
    return [bool(entry >> 63) for entry in pagemap(pid, start, length)]


def read(pid: int, start: int, length: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb") as file:
        return os.pread(file.fileno(), length, start)


def digest(pid: int, start: int, length: int) -> str:
    """The sum of memory, read from outside; EIO where a page is away."""
    total = hashlib.sha256()
    with open(f"/proc/{pid}/mem", "rb") as file:
        while length:
            data = os.pread(file.fileno(), min(length, 1 << 22), start)
            total.update(data)
            start += len(data)
            length -= len(data)
    return total.hexdigest()


class Snapshot(NamedTuple):
    """What a release has to leave as it was."""

    regions: list[Region]
    descriptors: dict[int, str]
    threads: list[int]
    caught: str
    ignored: str
    blocked: str


def snapshot(pid: int) -> Snapshot:
    fields = status(pid)
    return Snapshot(
        merged(pid),
        descriptors(pid),
        tids(pid),
        fields["SigCgt"],
        fields["SigIgn"],
        fields["SigBlk"],
    )


def helpers_of(pid: int) -> list[int]:
    """The pids of helpers and keepers that serve ``pid``."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if b"pagezapd" in os.path.basename(words[0]) and f"--pid={pid}".encode() in words[1:]:
            found.append(int(entry.name))
    return found


def await_no_helpers(pid: int, timeout: float = 10) -> None:
    """What has answered a release is about to end."""
    deadline = time.monotonic() + timeout
    while helpers_of(pid):
        assert time.monotonic() < deadline, f"helpers or keepers are left: {helpers_of(pid)}"
        time.sleep(0.01)


def agents_of(program: str) -> list[int]:
    """The pids of living agents in the mm of a process of ``program``."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            named = (entry / "comm").read_text().startswith("pagezap-agent")
            if named and os.readlink(entry / "exe") == program and alive(int(entry.name)):
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def leftovers(pid: int, before: Snapshot) -> list[str]:
    """What differs from ``before`` in a process that was let go, in words."""
    found = []
    now = snapshot(pid)
    fields = status(pid)
    if now.regions != before.regions:
        found += [f"mapping more: {region}" for region in set(now.regions) - set(before.regions)]
        found += [f"mapping gone: {region}" for region in set(before.regions) - set(now.regions)]
    if now.descriptors != before.descriptors:
        found.append(f"descriptors: {before.descriptors} became {now.descriptors}")
    if now.threads != before.threads:
        found.append(f"threads: {before.threads} became {now.threads}")
    for name in ("caught", "ignored", "blocked"):
        if getattr(now, name) != getattr(before, name):
            found.append(f"signals {name}: {getattr(before, name)} became {getattr(now, name)}")
    registered = vm_flags(pid) & {"um", "uw", "ui"}
    if registered:
        found.append(f"registered: {sorted(registered)}")
    if fields["TracerPid"] != "0":
        found.append(f"traced by {fields['TracerPid']}")
    for tid in now.threads:
        thread = status(pid, tid)
        if int(thread["SigPnd"], 16) or int(thread["ShdPnd"], 16):
            found.append(f"thread {tid} has a signal pending")
        if thread["State"][0] in "Tt":
            found.append(f"thread {tid} is {thread['State']}")
    helpers = helpers_of(pid)
    if helpers:
        found.append(f"helpers: {helpers}")
    agents = agents_of(os.readlink(f"/proc/{pid}/exe"))
    if agents:
        found.append(f"agents: {agents}")
    return found


def await_clean(pid: int, before: Snapshot, timeout: float = 10) -> None:
    """Wait until nothing of ours is left; fails with what is."""
    deadline = time.monotonic() + timeout
    found = leftovers(pid, before)
    while found and time.monotonic() < deadline:
        time.sleep(0.05)
        found = leftovers(pid, before)
    assert not found, "; ".join(found)
