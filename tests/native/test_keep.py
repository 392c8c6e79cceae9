"""Pages away and back: content, pagemap, ledger."""

from __future__ import annotations

import errno
import functools
import mmap
import os
import platform
import signal
from pathlib import Path

import pytest
from selfhost import PAGE, Inferior, hold, session, wait_for

from pagezap.native import launch
from pagezap.native.control import Client, ControlError
from pagezap.native.wire import State

MADV_DONTNEED = 4
SYS_MUNMAP = 11 if platform.machine() == "x86_64" else 215
MCL_CURRENT, MCL_FUTURE = 1, 2
ways = pytest.mark.parametrize("no_move", [False, True], ids=["move", "copy"])


def _fill_and_keep(inferior: Inferior, client: Client, seed: int) -> str:
    """Keep the whole buffer, and return the sum that its content has."""
    inferior.ask("fill", seed)
    before = inferior.sum()
    client.keep(inferior.buffer, inferior.length)
    return before


@ways
def test_keep_takes_pages_away_and_an_access_brings_them_back(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        inferior.ask("fill", 1)
        before = inferior.sum()
        kept = client.keep(inferior.buffer, inferior.length)
        assert (kept.pages, kept.kept, kept.skipped, kept.unpopulated) == (256, 256, 0, 0)
        assert inferior.present() == 0
        state = State.STORE if no_move else State.STASH
        assert [(r.start, r.length, r.state) for r in client.ledger()] == [
            (inferior.buffer, inferior.length, state)
        ]
        assert inferior.sum() == before
        assert inferior.present() == 256
        assert client.ledger() == []
        assert client.status().served_missing == 256


@ways
def test_refault_brings_back_without_an_access(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        before = _fill_and_keep(inferior, client, 2)
        part = client.refault(inferior.buffer, 16 * PAGE)
        assert (part.pages, part.refaulted, part.already_resident) == (16, 16, 0)
        assert inferior.present() == 16
        rest = client.refault()
        assert (rest.pages, rest.refaulted, rest.already_resident) == (256, 240, 16)
        assert inferior.sum() == before
        assert client.status().served_missing == 0


@ways
def test_empty_pages_are_not_kept_and_read_zero(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        inferior.ask("write", 3 * PAGE, 7)
        kept = client.keep(inferior.buffer, inferior.length)
        assert (kept.kept, kept.unpopulated) == (1, 255)
        assert inferior.ask("read", 8 * PAGE) == "0"
        assert inferior.ask("read", 3 * PAGE) == "7"


@ways
def test_keep_again_after_faults(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        for seed in range(8):
            inferior.ask("fill", seed)
            before = inferior.sum()
            assert client.keep(inferior.buffer, inferior.length).kept == 256
            inferior.ask("write", seed * PAGE, 9)
            inferior.ask("read", (seed + 9) * PAGE)
            assert client.keep(inferior.buffer, inferior.length).kept == 256
            assert inferior.sum() != before


def test_what_was_read_ahead_is_not_served_once_the_page_has_changed(program: Path) -> None:
    with session(program) as (inferior, client):
        _fill_and_keep(inferior, client, 6)
        inferior.ask("read", 0)
        inferior.ask("read", PAGE)  # the second in a row: the pages after it are read as well
        for value in (171, 172, 173):
            inferior.ask("write", 5 * PAGE, value)
            client.keep(inferior.buffer + 5 * PAGE, PAGE)
            assert inferior.ask("read", 4 * PAGE) != str(value)
            assert inferior.ask("read", 5 * PAGE) == str(value)


@ways
def test_no_update_is_lost_under_writers(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        inferior.ask("fill", 3)
        inferior.say("hammer", 256, 1500)
        rounds = 0
        for _ in range(100):
            client.keep(inferior.buffer, inferior.length)
            rounds += 1
        words = inferior.answer().split()
        assert words[3] == "0", words
        assert int(words[1]) > 0
        assert rounds


@ways
def test_large_range(program: Path, no_move: bool) -> None:
    size = 64 << 20
    with session(program, size, no_move=no_move) as (inferior, client):
        inferior.ask("fill", 5)
        before = inferior.sum()
        assert client.keep(inferior.buffer, size).kept == size // PAGE
        assert inferior.present() == 0
        assert client.status().rss_kib <= 6 * 1024 + 8 * (size // PAGE) // 1024
        assert client.refault().refaulted == size // PAGE
        assert inferior.sum() == before


def test_pages_are_taken_again_after_somebody_read_the_stash(program: Path) -> None:
    with session(program) as (inferior, client):
        before = _fill_and_keep(inferior, client, 6)
        client.show()
        with open(f"/proc/{inferior.pid}/mem", "rb", buffering=0) as memory:
            for start, length in client.own():
                memory.seek(start)
                memory.read(length)
        assert (client.hide().taken, inferior.present()) == (256, 0)
        assert inferior.sum() == before


@ways
def test_a_thread_that_waits_for_an_unmapped_page_finds_out(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        _fill_and_keep(inferior, client, 1)
        helper = client.hello.helper_pid
        hold(helper)
        inferior.say("doomed")
        line = Path(f"/proc/{inferior.pid}/syscall")
        wait_for(lambda: line.read_text().startswith(f"{SYS_MUNMAP} "))
        os.kill(helper, signal.SIGCONT)
        assert inferior.process.wait(10) == -signal.SIGSEGV


@ways
def test_while_shown_an_empty_page_reads_zero_and_is_served_again_after(
    program: Path, no_move: bool
) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        inferior.ask("write", 3 * PAGE, 7)
        client.keep(inferior.buffer, inferior.length)
        client.watch_add(1, inferior.buffer, inferior.length, trace=True)
        client.show()
        with open(f"/proc/{inferior.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(inferior.buffer + 3 * PAGE)
            assert memory.read(2 * PAGE)[::PAGE] == b"\7\0"
        client.calling()
        assert "um" in inferior.vm_flags(inferior.buffer)
        inferior.ask("madvise", 3 * PAGE, PAGE, MADV_DONTNEED)
        client.show()
        assert "um" not in inferior.vm_flags(inferior.buffer)
        client.hide()
        assert "um" in inferior.vm_flags(inferior.buffer)
        assert inferior.ask("read", 3 * PAGE) == "0"
        assert inferior.ask("write", 9 * PAGE, 1) == "ok"
        assert inferior.buffer + 9 * PAGE in [event.address for event in client.trace()]
        client.release()
        inferior.assert_clean()


@ways
def test_a_child_that_forks_and_maps_at_once_finds_the_content(
    program: Path, no_move: bool
) -> None:
    size = 64 << 20  # long enough to be given that the child does not wait for the end
    with session(program, size, no_move=no_move) as (inferior, client):
        inferior.ask("fill", 7)
        whole = inferior.sum()
        body = inferior.ask("sum", 0, size - 2 * PAGE)
        last = inferior.ask("sum", size - PAGE, PAGE)
        client.keep(inferior.buffer, size)
        zeros = functools.reduce(
            lambda total, _: total * 1099511628211 % 2**64, range(PAGE), 1469598103934665603
        )
        assert inferior.ask("busyfork", size) == f"{whole} {body} {zeros} {last}"
        assert inferior.present() == 0
        assert inferior.sum() == whole


@ways
def test_fork_gives_the_child_the_content(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        before = _fill_and_keep(inferior, client, 4)
        assert inferior.ask("fork", 0, inferior.length) == before
        assert inferior.present() == 0
        assert client.status().forks == 1
        assert inferior.sum() == before


@ways
def test_the_programs_own_zap_drops_the_kept_content(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        _fill_and_keep(inferior, client, 6)
        assert inferior.ask("madvise", 0, 8 * PAGE, MADV_DONTNEED) == "0"
        assert inferior.ask("read", 5) == "0"
        assert inferior.ask("read", 8 * PAGE) != "0"
        assert client.status().removes == 1
        assert client.refault().refaulted == 247


@ways
def test_unmap_and_remap_follow(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        before = _fill_and_keep(inferior, client, 7)
        moved = int(inferior.ask("remap"))
        assert moved != inferior.buffer
        assert [r.start for r in client.ledger()] == [moved]
        assert inferior.sum() == before
        client.keep(moved, inferior.length)
        assert inferior.ask("munmap", 128 * PAGE, 64 * PAGE) == "0"
        assert sum(r.length for r in client.ledger()) == 192 * PAGE
        head = inferior.ask("sum", 0, 128 * PAGE)
        assert client.release() > 0
        assert inferior.ask("sum", 0, 128 * PAGE) == head


@ways
def test_fill(program: Path, no_move: bool, tmp_path: Path) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        inferior.ask("fill", 8)
        assert client.fill_byte(inferior.buffer, 4 * PAGE, 0x5A).dropped == 4
        assert client.fill_byte(inferior.buffer + 4 * PAGE, 4 * PAGE).dropped == 4
        content = tmp_path / "content"
        content.write_bytes(b"x" + b"y" * PAGE)
        with content.open("rb") as file:
            client.fill_file(inferior.buffer + 8 * PAGE, 2 * PAGE, file.fileno(), 1)
        assert inferior.present(inferior.buffer, 10 * PAGE) == 0
        assert {r.state for r in client.ledger()} == {State.FILL}
        assert inferior.ask("read", PAGE) == str(0x5A)
        assert inferior.ask("read", 5 * PAGE) == "0"
        assert inferior.ask("read", 8 * PAGE + 4095) == str(ord("y"))
        assert inferior.ask("read", 9 * PAGE) == "0"
        client.show()
        client.hide()
        assert inferior.ask("read", 3 * PAGE) == str(0x5A)


@ways
def test_advise_dontneed_zaps_and_is_remembered(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        inferior.ask("fill", 9)
        client.keep(inferior.buffer, 8 * PAGE)
        assert client.advise(inferior.buffer, 4 * PAGE, MADV_DONTNEED) == 0
        states = [(r.length // PAGE, r.state) for r in client.ledger()]
        assert states == [(4, State.ZAPPED), (4, State.STORE if no_move else State.STASH)]
        assert inferior.ask("read", 9) == "0"
        assert client.advise(inferior.buffer, PAGE, 999) == -errno.EINVAL


@ways
def test_show_and_hide(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        before = _fill_and_keep(inferior, client, 10)
        client.show()
        client.show()
        assert inferior.present() == 256
        assert all(run.shown for run in client.ledger())
        with pytest.raises(ControlError) as caught:
            client.keep(inferior.buffer, PAGE)
        assert caught.value.errno == errno.EBUSY
        hidden = client.hide()
        assert (hidden.taken, hidden.lost) == (256, 0)
        assert (client.hide().taken, inferior.present()) == (0, 0)
        assert inferior.sum() == before


def test_keep_where_empty_pages_are_armed(program: Path) -> None:
    with session(program) as (inferior, client):
        for page in range(0, 256, 3):
            inferior.ask("write", page * PAGE, page % 251)
        client.watch_add(1, inferior.buffer, inferior.length, trace=True, write_only=True)
        kept = client.keep(inferior.buffer, inferior.length)
        assert (kept.kept, kept.skipped, kept.unpopulated) == (86, 0, 170)
        assert [inferior.ask("read", page * PAGE) for page in (0, 3, 4, 9)] == ["0", "3", "0", "9"]
        assert list(client.trace()) == []
        inferior.ask("write", 3 * PAGE, 1)
        inferior.ask("write", 4 * PAGE, 1)
        assert [e.address for e in client.trace()] == [
            inferior.buffer + 3 * PAGE,
            inferior.buffer + 4 * PAGE,
        ]
        client.show()
        assert client.hide().lost == 0
        assert inferior.ask("read", 6 * PAGE) == "6"


def test_keep_refuses_what_is_not_private_anonymous(program: Path) -> None:
    with session(program) as (inferior, client):
        image = int(inferior.maps()[0].split("-")[0], 16)
        for start in (image, inferior.place["mailbox"], inferior.place["code"], 0x1000):
            with pytest.raises(ControlError) as caught:
                client.keep(start, PAGE)
            assert caught.value.errno == errno.EINVAL


def _locked(inferior: Inferior, client: Client) -> None:
    inferior.ask("fill", 11)
    before = inferior.sum()
    kept = client.keep(inferior.buffer, inferior.length)
    assert (kept.kept, kept.skipped) == (256, 0)
    assert inferior.sum() == before


def test_mlocked_pages_go_by_copy(program: Path) -> None:
    with session(program) as (inferior, client):
        assert inferior.ask("mlock", 0, inferior.length) == "0"
        _locked(inferior, client)


def test_pages_of_a_program_that_locks_all_go_by_copy(program: Path) -> None:
    with session(program) as (inferior, client):
        assert inferior.ask("mlockall", MCL_CURRENT | MCL_FUTURE) == "0"
        _locked(inferior, client)


def test_read_only_pages_go_by_copy(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("fill", 12)
        before = inferior.sum()
        inferior.ask("mprotect", 0, inferior.length, mmap.PROT_READ)
        assert client.keep(inferior.buffer, inferior.length).kept == 256
        assert inferior.present() == 0
        assert inferior.sum() == before


def test_kept_then_made_read_only(program: Path) -> None:
    with session(program) as (inferior, client):
        before = _fill_and_keep(inferior, client, 13)
        inferior.ask("mprotect", 0, inferior.length, mmap.PROT_READ)
        assert client.refault().refaulted == 256
        assert inferior.sum() == before


def test_pages_shared_with_a_child_are_skipped(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("fill", 14)
        before = inferior.ask("fork", 0, inferior.length, 1)
        children = Path(f"/proc/{inferior.pid}/task/{inferior.pid}/children")
        child = int(children.read_text(encoding="utf-8").split()[0])
        try:
            for page in (7, 8, 200):
                inferior.ask("write", page * PAGE, 1)
            kept = client.keep(inferior.buffer, inferior.length)
            assert (kept.kept, kept.skipped, kept.reason) == (3, 253, errno.EBUSY)
            assert inferior.present() == 253
        finally:
            os.kill(child, signal.SIGKILL)
        assert inferior.sum() != before
        assert inferior.present() == 256


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace needs privilege")
def test_in_another_pid_namespace(program: Path) -> None:
    inferior = Inferior(program, wrapper=("unshare", "--pid", "--fork", "--kill-child"))
    try:
        client = launch.start(inferior.pid, **inferior.place)
        inferior.ask("fill", 1)
        before = inferior.sum()
        client.watch_add(1, inferior.buffer, inferior.length, trace=True)
        assert client.keep(inferior.buffer, inferior.length).kept == 256
        assert inferior.sum() == before
        inferior.ask("write", 0, 1)
        assert {event.tid for event in client.trace()} == {inferior.pid}
        client.release()
        inferior.assert_clean()
    finally:
        inferior.end()
