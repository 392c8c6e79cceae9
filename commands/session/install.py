"""Putting pagezap's few pieces into the inferior, and taking them out if that fails.

The pieces: one area with the agent's code and stacks, one page shared with the helper
(the mailbox), a userfaultfd, and the agent, a task that shares the inferior's memory.
All by injected system calls, in a stopped inferior, with its other threads held.
See userfaultfd(2), memfd_create(2), clone(2), PR_SET_CHILD_SUBREAPER in prctl(2).
"""

from __future__ import annotations

import contextlib
import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from pagezap.debugger import procfs
from pagezap.debugger.errors import InjectionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pagezap.debugger.api import Debugger
    from pagezap.debugger.inject import Injector

PAGE = 4096
CODE_LENGTH = 4 * PAGE
"""A page of code, then the stacks of the intermediate task and of the agent."""

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS = 0x1, 0x2, 0x20
MFD_CLOEXEC = 1
O_CLOEXEC, O_NONBLOCK = 0x80000, 0x800
F_DUPFD_CLOEXEC = 1030
WALL = 0x40000000
CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND = 0x100, 0x200, 0x400, 0x800
CLONE_UNTRACED = 0x800000
PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37
AGENT_FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_UNTRACED
"""The agent shares the descriptors, so that it can close ours in the inferior, and the
signal handlers, so that it can guard the inferior against a dead debugger's SIGTRAP."""

SIGNAL_SET_LENGTH, SIGACTION_LENGTH = 8, 32
"""Bytes of the kernel's sigset_t and struct sigaction on a 64-bit machine."""

HIGH_DESCRIPTOR = 1000
"""Where our descriptor goes, out of the way of the program's, if its limit permits."""


class Installed(NamedTuple):
    """What is in the inferior now: addresses, and descriptor numbers of the inferior."""

    code: int
    mailbox: int
    uffd: int
    command: int


def install(debugger: Debugger, injector: Injector, agent_image: bytes) -> Installed:
    """Put everything into the inferior. Raises InjectionError, leaving nothing behind."""
    pid = debugger.inferior().pid
    with injector.session() as call, ExitStack() as undo:
        code = call.syscall(
            "mmap", 0, CODE_LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
        )
        undo.callback(_quietly, call, "munmap", code, CODE_LENGTH)
        debugger.write_memory(code, b"pagezap\0")
        command = _move_up(call, undo, pid, call.syscall("memfd_create", code, MFD_CLOEXEC))
        call.syscall("ftruncate", command, PAGE)
        mailbox = call.syscall("mmap", 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, command, 0)
        undo.callback(_quietly, call, "munmap", mailbox, PAGE)
        uffd = _move_up(call, undo, pid, call.syscall("userfaultfd", O_CLOEXEC | O_NONBLOCK))
        debugger.write_memory(code, agent_image)
        call.syscall("mprotect", code, PAGE, PROT_READ | PROT_EXEC)
        with _no_subreaper(debugger, call, mailbox):
            between = call.clone_agent(code, mailbox, AGENT_FLAGS)
            # Its death by a fault, where its code is unmapped first, would take the inferior along.
            undo.callback(_end_agent, debugger, mailbox)
            call.syscall("wait4", between, 0, WALL, 0)
        undo.pop_all()
    return Installed(code, mailbox, uffd, command)


@contextlib.contextmanager
def _no_subreaper(debugger: Debugger, call: Injector, mailbox: int) -> Iterator[None]:
    """Keep the inferior from inheriting the agent, at whose end it would get a SIGCHLD.

    The kernel hands the children of a task that ends to the nearest subreaper above it.
    """
    place = mailbox + PAGE // 2
    call.syscall("prctl", PR_GET_CHILD_SUBREAPER, place, 0, 0, 0)
    is_subreaper = any(debugger.read_memory(place, 4))
    debugger.write_memory(place, bytes(4))
    if is_subreaper:
        call.syscall("prctl", PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    try:
        yield
    finally:
        if is_subreaper:
            call.syscall("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _move_up(call: Injector, undo: ExitStack, pid: int, descriptor: int) -> int:
    """Move a descriptor to a high number; it is closed again when the installation fails."""
    soft, _ = procfs.open_files_limit(pid)
    high = min(HIGH_DESCRIPTOR, soft - 8)
    moved = descriptor
    if high > descriptor:
        with contextlib.suppress(InjectionError):
            moved = call.syscall("fcntl", descriptor, F_DUPFD_CLOEXEC, high)
            call.syscall("close", descriptor)
    undo.callback(_quietly, call, "close", moved)
    return moved


def _end_agent(debugger: Debugger, mailbox: int) -> None:
    agent = procfs.find_agent(mailbox, debugger.read_memory)
    if agent is not None:
        procfs.end_process(agent)


def _quietly(call: Injector, name: str, *arguments: int) -> None:
    with contextlib.suppress(InjectionError):
        call.syscall(name, *arguments)


def own_ranges(installed: Installed) -> list[tuple[int, int]]:
    """Return (start, length) in bytes of what was mapped."""
    return [(installed.code, CODE_LENGTH), (installed.mailbox, PAGE)]


def remove(
    debugger: Debugger,
    injector: Injector,
    installed: Installed,
    stashes: Iterable[tuple[int, int]] = (),
) -> None:
    """Take everything out again when no helper came to serve it, or left it.

    The agent ends with its process; it is found by its name among the tasks that share
    the inferior's memory, and its memory goes only after it has gone.
    """
    pid = debugger.inferior().pid
    _end_agent(debugger, installed.mailbox)
    with injector.session() as call:
        _remove_guard(debugger, call, installed)
        for descriptor in descriptors_left(pid, installed):
            _quietly(call, "close", descriptor)
        for start, length in (*stashes, *own_ranges(installed)[::-1]):
            _quietly(call, "munmap", start, length)


def _remove_guard(debugger: Debugger, call: Injector, installed: Installed) -> None:
    """Give SIGTRAP its default action back where the handler is the agent's."""
    place = installed.mailbox + PAGE // 2
    with contextlib.suppress(InjectionError):
        call.syscall("rt_sigaction", signal.SIGTRAP, 0, place, SIGNAL_SET_LENGTH)
        handler = int.from_bytes(debugger.read_memory(place, 8), "little")
        if installed.code <= handler < installed.code + CODE_LENGTH:
            debugger.write_memory(place, bytes(SIGACTION_LENGTH))
            call.syscall("rt_sigaction", signal.SIGTRAP, place, 0, SIGNAL_SET_LENGTH)


def descriptors_left(pid: int, installed: Installed) -> list[int]:
    """Return those of our descriptors that the inferior still has."""
    return [
        number
        for number, file in (
            (installed.uffd, "anon_inode:[userfaultfd]"),
            (installed.command, "/memfd:pagezap (deleted)"),
        )
        if _link(f"/proc/{pid}/fd/{number}") == file
    ]


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
