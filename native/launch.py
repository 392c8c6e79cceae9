"""Starting the helper, detached from whoever starts it."""

from __future__ import annotations

import errno
import json
import os
import select
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pagezap.native import helper_path
from pagezap.native.control import Client, ControlError

if TYPE_CHECKING:
    from pathlib import Path

READY_TIMEOUT_S: Final = 10.0
ENVIRONMENT: Final = {"LANG": "C"}


class LaunchError(ControlError):
    """The helper did not start; the message is its own."""

    def __init__(self, message: str) -> None:
        """Say what the helper said."""
        super().__init__(errno.ECHILD, "start")
        self.message = message

    def __str__(self) -> str:
        """Return the helper's own words."""
        return self.message


@dataclass(frozen=True)
class _Place:
    """What was injected into the inferior: descriptor numbers and addresses."""

    pid: int
    uffd: int
    command: int
    mailbox: int
    code: int
    code_length: int


def _arguments(place: _Place, helper: Path, ready: int, no_move: bool, ring: int) -> list[str]:
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
    poll = select.poll()  # select() knows no descriptor beyond 1023
    poll.register(fd, select.POLLIN)
    end = time.monotonic() + READY_TIMEOUT_S
    while (left := end - time.monotonic()) > 0:
        if not poll.poll(left * 1000):
            break
        part = os.read(fd, 4096)
        if not part:
            raise LaunchError(answer.decode(errors="replace").strip() or "the helper ended")
        if part.startswith(b"\0"):
            return
        answer += part
    raise LaunchError("the helper did not answer in time")


def start(
    pid: int,
    *,
    uffd: int,
    command: int,
    mailbox: int,
    code: int,
    code_length: int,
    no_move: bool = False,
    ring: int = 0,
    helper: Path | None = None,
) -> Client:
    """Start the helper in a process group of its own and connect to it as its owner.

    ``uffd`` and ``command`` are descriptor numbers in the process, ``mailbox`` and
    ``code`` addresses there. Safe inside a debugger: nothing is inherited but one
    descriptor, signals are as by default, and what runs on is a child of init.
    Raises LaunchError, or another ControlError.
    """
    place = _Place(pid, uffd, command, mailbox, code, code_length)
    executable = helper or helper_path()
    if not os.access(executable, os.X_OK):
        raise LaunchError(f"no helper at {executable}")
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen(
            _arguments(place, executable, writer, no_move, ring),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            pass_fds=(writer,),
            process_group=0,
        )
    finally:
        os.close(writer)
    try:
        _wait_ready(reader)
    finally:
        os.close(reader)
        process.wait()  # what we started forks the helper and ends at once
    return Client.connect(pid, owner=True)


def probe(helper: Path | None = None) -> dict[str, Any]:
    """Ask the helper what this kernel and these privileges allow."""
    executable = helper or helper_path()
    try:
        answer = subprocess.run(
            [str(executable), "--probe"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=ENVIRONMENT,
            cwd="/",
            timeout=READY_TIMEOUT_S,
            check=True,
        )
        found: dict[str, Any] = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise LaunchError(f"{executable} --probe: {error}") from error
    return found
