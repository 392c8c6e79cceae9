"""The program changes its mappings while the helper works on them: no byte is lost."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import random
import select
import signal
import struct
import time
from typing import TYPE_CHECKING

import pytest
from selfhost import PAGE, Inferior, ended, session, wait_for

from pagezap.native import control, launch, wire

if TYPE_CHECKING:
    from pathlib import Path

ways = pytest.mark.parametrize("no_move", [False, True], ids=["move", "copy"])


def test_more_pieces_than_any_table_of_ours_was_made_for(program: Path) -> None:
    """mremap of what was kept finds its content, however many pieces the range is in."""
    holes = 16400
    rest = 2 * holes * PAGE
    with session(program, rest + 16 * PAGE) as (inferior, client):
        inferior.ask("fill", 1)
        before = inferior.ask("sum", rest + 4 * PAGE, 4 * PAGE)
        client.keep(inferior.buffer, inferior.length)
        inferior.ask("holes", holes)
        assert client.status().managed_pages == holes + 16
        assert inferior.ask("remappart", rest + 4 * PAGE, 4 * PAGE) == before
        client.release()
        inferior.assert_clean()


def test_an_address_that_comes_to_mean_other_memory(program: Path) -> None:
    """KEEP goes on while the range moves away and its place is used anew."""
    with session(program, 64 * PAGE) as (inferior, client):
        inferior.ask("fill", 1)
        inferior.say("pingpong", 1500)
        kept = 0
        assert inferior.process.stdout
        while not select.select([inferior.process.stdout], [], [], 0)[0]:
            with contextlib.suppress(control.ControlError):
                kept += client.keep(inferior.buffer, inferior.length).kept
        rounds, lost_new, lost_moved = map(int, inferior.answer().split())
        assert rounds
        assert kept
        assert (lost_new, lost_moved) == (0, 0)
        client.release()
        inferior.assert_clean()


@ways
def test_fill_of_an_address_that_comes_to_mean_other_memory(program: Path, no_move: bool) -> None:
    """What is not in the range at the time keeps its bytes; the helper goes on."""
    with session(program, 64 * PAGE, no_move=no_move) as (inferior, client):
        inferior.ask("fill", 1)
        elsewhere = inferior.ask("sum", 32 * PAGE, 32 * PAGE)
        client.keep(inferior.buffer, inferior.length)
        client.fill_byte(inferior.buffer, 8 * PAGE, 7)
        assert inferior.ask("remappart", 0, 8 * PAGE) == str(sum_of(bytes([7]) * 8 * PAGE))
        assert inferior.ask("sum", 32 * PAGE, 32 * PAGE) == elsewhere


def is_clean(inferior: Inferior) -> bool:
    """Whether nothing of a session is left, as yet."""
    with contextlib.suppress(AssertionError):
        inferior.assert_clean()
        return True
    return False


def sum_of(content: bytes) -> int:
    """What the inferior answers to ``sum``."""
    total = 1469598103934665603
    for byte in content:
        total = (total ^ byte) * 1099511628211 & (2**64 - 1)
    return total


@ways
def test_a_helper_killed_amid_changes_of_its_table(program: Path, no_move: bool) -> None:
    """Whatever it was doing, the keeper brings back what was kept and not unmapped."""
    chooser = random.Random(7)
    for _ in range(12):
        inferior = Inferior(program, 512 * PAGE)
        try:
            client = launch.start(inferior.pid, **inferior.place, no_move=no_move)
            inferior.ask("fill", 1)
            upper = inferior.ask("sum", 256 * PAGE, 256 * PAGE)
            client.keep(inferior.buffer, inferior.length)
            helper = client.hello.helper_pid
            inferior.say("holes", 64)
            end = time.monotonic() + chooser.random() / 200
            while time.monotonic() < end:
                pass
            os.kill(helper, signal.SIGKILL)
            wait_for(lambda pid=helper: ended(pid))
            inferior.answer()
            assert inferior.ask("sum", 256 * PAGE, 256 * PAGE) == upper
            wait_for(lambda it=inferior: is_clean(it))
            client.close()
        finally:
            inferior.end()


def test_pages_kept_one_by_one_leave_nothing_when_unmapped(program: Path) -> None:
    """More stash areas than were once remembered, in random order: each is freed, and told of."""
    pages = 4400
    with session(program, pages * PAGE) as (inferior, client):
        before = {line.split()[0] for line in inferior.maps()}
        order = list(range(pages))
        random.Random(3).shuffle(order)
        for page in order:
            client.keep(inferior.buffer + page * PAGE, PAGE)
        own = client.own()
        assert len(own) == len({start for start, _ in own}) == pages
        assert sum(length for _, length in own) == pages * PAGE
        inferior.ask("munmap", 0, inferior.length)
        wait_for(lambda: not client.own(), 20.0)
        client.release()
        left = {line.split()[0] for line in inferior.maps()} - before
        assert not left


def test_a_closed_descriptor_is_no_end(program: Path) -> None:
    """A program that closes what it does not know: pages are kept by copy from there on."""
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        before = inferior.sum()
        client.keep(inferior.buffer, 8 * PAGE)
        inferior.ask("close", inferior.place["uffd"])
        result = client.keep(inferior.buffer, inferior.length)
        assert result.skipped == 0
        assert result.kept == result.pages
        assert inferior.present() == 0
        assert inferior.sum() == before


def test_memory_of_ours_is_not_advised_or_watched(program: Path) -> None:
    """DONTNEED of a stash would be the loss of what is kept."""
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        before = inferior.sum()
        client.keep(inferior.buffer, inferior.length)
        ours = [*client.own(), (inferior.place["code"], PAGE), (inferior.place["mailbox"], PAGE)]
        for start, length in ours:
            with pytest.raises(control.ControlError):
                client.advise(start, length, mmap.MADV_DONTNEED)
            with pytest.raises(control.ControlError):
                client.watch_add(1, start, length)
        assert inferior.sum() == before


def test_a_file_that_cannot_be_read_changes_nothing(program: Path) -> None:
    """The third of four pages has an error: none of them is filled."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    private_anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    base = libc.mmap(None, 4 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, private_anonymous, -1, 0)
    libc.munmap(base + 2 * PAGE, 2 * PAGE)
    with session(program) as (inferior, client), open("/proc/self/mem", "rb") as file:
        inferior.ask("fill", 1)
        before = inferior.sum()
        client.keep(inferior.buffer, PAGE)
        with pytest.raises(control.ControlError):
            client.fill_file(inferior.buffer, 4 * PAGE, file.fileno(), base)
        assert [(run.start, run.length) for run in client.ledger()] == [(inferior.buffer, PAGE)]
        assert inferior.sum() == before
    libc.munmap(base, 2 * PAGE)


def test_a_long_count_keeps_no_fault_waiting(program: Path) -> None:
    """While a REFAULT looks over terabytes that hold nothing, pages come back as ever."""
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        before = inferior.sum()
        client.keep(inferior.buffer, inferior.length)
        with control.Client.connect(inferior.pid) as other:
            header = wire.HEADER.pack(wire.PROTOCOL, wire.Op.REFAULT, 16, 99, 0)
            other._socket.send(header + struct.pack("<QQ", 0x600000000000, 1 << 43))
            assert inferior.sum() == before
            assert not select.select([other._socket], [], [], 0)[0], "the count was over first"
        os.kill(client.hello.helper_pid, signal.SIGKILL)
        wait_for(lambda: ended(client.hello.helper_pid))
