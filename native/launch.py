"""Starting the helper, detached from whoever starts it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pagezap.native import helper_path
from pagezap.native.control import Client

READY_TIMEOUT_S: Final = 10.0


class LaunchError(Exception):
    """The helper did not start; the message is its own."""


@dataclass(frozen=True)
class Place:
    """What was injected into the inferior: descriptor numbers and addresses."""

    pid: int
    uffd: int
    command: int
    mailbox: int
    code: int
    code_length: int


def _arguments(place: Place, helper: Path, ready: int, no_move: bool, ring: int) -> list[str]:
    arguments = [
        str(helper),
        f"--pid={place.pid}",
        f"--uffd={place.uffd}",
        f"--command={place.command}",
        f"--mailbox={place.mailbox:#x}",
        f"--code={place.code:#x}",
        f"--code-length={place.code_length}",
        f"--ready-fd={ready}",
    ]
    if no_move:
        arguments.append("--no-move")
    if ring:
        arguments.append(f"--ring={ring}")
    return arguments


def _wait_ready(fd: int) -> None:
    """Return at the helper's zero byte; LaunchError with its line, or at the time limit."""
    answer = b""
    end = time.monotonic() + READY_TIMEOUT_S
    while (left := end - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            break
        part = os.read(fd, 4096)
        if not part:
            raise LaunchError(answer.decode(errors="replace").strip() or "the helper ended")
        if part.startswith(b"\0"):
            return
        answer += part
    raise LaunchError("the helper did not answer in time")


def start(
    place: Place, *, no_move: bool = False, ring: int = 0, helper: Path | None = None
) -> Client:
    """Start the helper in a session of its own and connect to it as its owner.

    Safe inside a debugger: no code runs between fork and exec but the C library's,
    nothing is inherited but one descriptor, and signals are as by default.
    """
    executable = helper or helper_path()
    if not os.access(executable, os.X_OK):
        raise LaunchError(f"no helper at {executable}")
    reader, writer = os.pipe()
    # gdb blocks SIGCHLD and others in its threads; a blocked mask would be inherited.
    mask = signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        process = subprocess.Popen(
            _arguments(place, executable, writer, no_move, ring),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C"},
            cwd="/",
            pass_fds=(writer,),
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(writer)
    try:
        _wait_ready(reader)
    finally:
        os.close(reader)
        process.wait()  # what we started forks the helper and ends at once
    return Client.connect(place.pid, owner=True)
