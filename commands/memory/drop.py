"""Dropping pages: from outside, by a hole in the file, by the agent, by injection."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from pagezap.commands.memory import advice
from pagezap.debugger.errors import InjectionError, PagezapError, UnsupportedError
from pagezap.debugger.procread import living

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.memory.target import Piece
    from pagezap.commands.session.context import Context

VIAS = ("auto", "remote", "agent", "inject")

FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 1, 2


class Dropper:
    """Drops pieces of the current inferior, by one way or the best there is."""

    def __init__(self, context: Context, pid: int, via: str) -> None:
        """Prepare; nothing is touched. ``via`` is one of VIAS."""
        self._context = context
        self._pid = pid
        self._via = via

    def drop(self, pieces: Sequence[Piece]) -> dict[int, tuple[str, int]]:
        """Drop the pieces; return by piece's start the way taken and 0 or an errno."""
        done: dict[int, tuple[str, int]] = {}
        groups: dict[int, list[Piece]] = {}
        for piece in pieces:
            if piece.shmem and self._via == "auto":
                number = self._punch(piece)
                if number == 0:
                    done[piece.start] = ("punch", 0)
                    continue
            groups.setdefault(_advice_for(piece), []).append(piece)
        for kind, members in groups.items():
            via, number = self._advise(members, kind)
            if number and len(members) > 1:
                # Which one was refused? Dropping what is dropped already changes nothing.
                for piece in members:
                    done[piece.start] = self._advise([piece], kind)
            else:
                done.update({piece.start: (via, number) for piece in members})
        return done

    def _advise(self, pieces: Sequence[Piece], kind: int) -> tuple[str, int]:
        spans = [(piece.start, piece.length) for piece in pieces]
        via = self._via
        session = self._context.session()
        if via == "auto":
            if session is not None:
                via = "agent"
            else:
                number = advice.remote(self._pid, spans, kind)
                if number not in advice.NOT_FROM_OUTSIDE:
                    return "remote", number
                via = "inject"
        if via == "remote":
            number = advice.remote(self._pid, spans, kind)
            if number in advice.NOT_FROM_OUTSIDE:
                raise _remote_refused(number)
            return "remote", number
        if via == "agent":
            session = session or self._context.require_session()
            return "agent", advice.by_agent(session, spans, kind)
        return "inject", advice.injected(self._context.debugger, spans, kind)

    def _punch(self, piece: Piece) -> int:
        """Punch a hole into the file behind a shared mapping; return 0 or an errno."""
        mapping = piece.mapping
        path = f"/proc/{living(self._pid)}/map_files/{mapping.start:x}-{mapping.end:x}"
        offset = mapping.offset + piece.start - mapping.start
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            return error.errno or errno.EIO
        try:
            return _fallocate(descriptor, offset, piece.length)
        finally:
            os.close(descriptor)


def _fallocate(descriptor: int, offset: int, length: int) -> int:
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    mode = FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE
    return 0 if call(descriptor, mode, offset, length) == 0 else ctypes.get_errno()


def _advice_for(piece: Piece) -> int:
    if piece.shmem:
        return advice.ADVICE["remove"]
    return advice.DONTNEED_LOCKED if "lo" in piece.flags else advice.DONTNEED


def check_remote(pid: int, pieces: Sequence[Piece]) -> None:
    """Raise where the kernel would not drop the pieces from outside; nothing is touched."""
    for kind in sorted({_advice_for(piece) for piece in pieces}):
        number = advice.remote_refusal(pid, kind)
        if number:
            raise _remote_refused(number)


def _remote_refused(number: int) -> PagezapError:
    return UnsupportedError(
        f"The kernel does not take this advice from outside ({os.strerror(number)})",
        hint="Use --via inject, --via agent or leave --via out",
        kind="remote-refused",
    )


def failure(piece: Piece, number: int) -> PagezapError:
    """Return the error for a piece that the kernel refused."""
    return InjectionError(
        f"{piece.label()}: the kernel refused the zap ({os.strerror(number)})",
        hint="pagemap-check shows the state of its pages",
        kind="kernel-refused",
    )
