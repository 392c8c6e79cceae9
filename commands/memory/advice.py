"""The kinds of advice that madvise(2) takes, and the ways to give one.

An advice goes to another process by itself where the kernel accepts that; else it
must be given by a task in the inferior's memory: the agent, or an injected call.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pagezap.debugger.errors import PagezapError, UsageError
from pagezap.debugger.procread import living

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.session.session import Session
    from pagezap.debugger.api import Debugger
    from pagezap.debugger.inject import Injector

ADVICE = {
    "normal": 0,
    "random": 1,
    "sequential": 2,
    "willneed": 3,
    "dontneed": 4,
    "free": 8,
    "remove": 9,
    "dontfork": 10,
    "dofork": 11,
    "mergeable": 12,
    "unmergeable": 13,
    "hugepage": 14,
    "nohugepage": 15,
    "dontdump": 16,
    "dodump": 17,
    "wipeonfork": 18,
    "keeponfork": 19,
    "cold": 20,
    "pageout": 21,
    "populate_read": 22,
    "populate_write": 23,
    "dontneed_locked": 24,
    "collapse": 25,
    "hwpoison": 100,
    "soft_offline": 101,
    "guard_install": 102,
    "guard_remove": 103,
}
"""Names and numbers of linux/mman.h."""

DESTRUCTIVE = frozenset(
    {"dontneed", "dontneed_locked", "free", "remove", "hwpoison", "guard_install", "wipeonfork"}
)
"""What may lose content."""

DONTNEED = ADVICE["dontneed"]
DONTNEED_LOCKED = ADVICE["dontneed_locked"]
POPULATE_READ = ADVICE["populate_read"]
REMOTE = ("cold", "pageout", "willneed", "collapse")
"""What kernels of today take from outside; a newer one may take more, so all are tried."""

SYS_PROCESS_MADVISE = 440
"""The same number on every architecture, as for all system calls since 5.1."""

LIMIT = 1 << 30
"""Bytes given in one call: the kernel silently stops at 2 GiB less a page."""

NOT_FROM_OUTSIDE = frozenset(
    {errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EACCES, errno.EOPNOTSUPP}
)
"""Answers by which the kernel says no to the way and not to the memory."""

WITHOUT_LEADER = errno.EOPNOTSUPP
"""Where the first thread has left: process_madvise(2) takes its memory, by no other thread."""

PIDFD_SELF = (-10000, -10001)
"""PIDFD_SELF, whose value differs between kernels: thread group, then thread."""

VECTORS = 64
"""Spans given in one call; the kernel takes 1024, but they must fit below the stack."""

Span = tuple[int, int]


def number(name: str) -> int:
    """Return an advice's number by its name, dashes or underscores. Raises UsageError."""
    wanted = name.lower().replace("-", "_").removeprefix("madv_")
    try:
        return ADVICE[wanted]
    except KeyError:
        raise UsageError(
            f"No advice {name}", hint=f"It is one of {', '.join(ADVICE)}", kind="unknown-advice"
        ) from None


def remote(pid: int, spans: Sequence[Span], advice: int) -> int:
    """Give advice from outside; return 0 or the errno of the first refusal."""
    if living(pid) != pid:
        return WITHOUT_LEADER
    descriptor = os.pidfd_open(pid)
    try:
        for start, length in pieces(spans):
            done = 0
            while done < length:
                result = _process_madvise(descriptor, start + done, length - done, advice)
                if result == -errno.EINTR:
                    continue
                if result <= 0:
                    return -result or errno.EINVAL
                done += result
    finally:
        os.close(descriptor)
    return 0


def remote_refusal(pid: int, advice: int) -> int:
    """Return the errno with which the kernel refuses advice from outside, 0 if it does not.

    It is asked for no bytes at all.
    """
    if living(pid) != pid:
        return WITHOUT_LEADER
    descriptor = os.pidfd_open(pid)
    try:
        return max(0, -_process_madvise(descriptor, 0, 0, advice))
    finally:
        os.close(descriptor)


def _process_madvise(descriptor: int, start: int, length: int, advice: int) -> int:
    """Call process_madvise(2) on one span; return the bytes advised or a negative errno."""
    import ctypes

    class Iovec(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    result = int(
        call(
            ctypes.c_long(SYS_PROCESS_MADVISE),
            ctypes.c_long(descriptor),
            ctypes.byref(Iovec(start, length)),
            ctypes.c_ulong(1),
            ctypes.c_long(advice),
            ctypes.c_ulong(0),
        )
    )
    return -ctypes.get_errno() if result < 0 else result


def pieces(spans: Sequence[Span]) -> list[Span]:
    """Cut spans into pieces that one call takes whole."""
    cut: list[Span] = []
    for start, length in spans:
        cut += [(start + offset, min(LIMIT, length - offset)) for offset in range(0, length, LIMIT)]
    return cut


def injected(debugger: Debugger, spans: Sequence[Span], advice: int) -> int:
    """Give advice by injected calls; return 0 or the errno of the first refusal.

    One call per span, or one process_madvise for all of them where there are several
    and the kernel takes this advice from the process itself.
    """
    from pagezap.commands.session.preflight import check_injectable
    from pagezap.debugger.inject import Injector

    check_injectable(debugger.inferior())
    cut = pieces(spans)
    with Injector(debugger).session() as call:
        if len(cut) > 1 and _all_at_once(debugger, call, cut, advice):
            return 0
        for start, length in cut:
            result = call.syscall("madvise", start, length, advice, raw=True)
            if result < 0:
                return -result
    return 0


def _all_at_once(debugger: Debugger, call: Injector, spans: Sequence[Span], advice: int) -> bool:
    """Give advice by process_madvise on the process itself; return whether all was taken.

    The vectors lie below the thread's stack pointer, out of the red zone, for the time
    of the call: the thread runs nothing else meanwhile, and gets its bytes back.
    """
    from struct import pack

    from pagezap.debugger.arch import for_machine

    arch = for_machine(debugger.inferior().machine)
    stack = debugger.read_registers([arch.stack_register])[arch.stack_register]
    for begin in range(0, len(spans), VECTORS):
        part = spans[begin : begin + VECTORS]
        vectors = b"".join(pack("<QQ", *span) for span in part)
        place = (stack - arch.red_zone - len(vectors)) & ~0xF
        try:
            saved = debugger.read_memory(place, len(vectors))
            debugger.write_memory(place, vectors)
        except PagezapError:
            return False
        try:
            wanted = sum(length for _, length in part)
            if not any(
                call.syscall("process_madvise", descriptor, place, len(part), advice, 0, raw=True)
                == wanted
                for descriptor in PIDFD_SELF
            ):
                return False
        finally:
            debugger.write_memory(place, saved)
    return True


def by_agent(session: Session, spans: Sequence[Span], advice: int) -> int:
    """Give advice by the agent; return 0 or the errno of the first refusal.

    The caller has the session hidden, so that the ledger and the pages agree.
    """
    for start, length in pieces(spans):
        result = session.client.advise(start, length, advice)
        if result < 0:
            return -result
    return 0
