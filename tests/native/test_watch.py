"""Watches: stops before the access, traces, steps, system calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from selfhost import PAGE, Inferior, Tracer, session, wait_for

from pagezap.native.wire import Access, Event, RawHit

if TYPE_CHECKING:
    from pathlib import Path

    from pagezap.native.control import Client

SYS_READ = 0
SYS_GETDENTS64 = 217


def _hit(client: Client, tid: int, *, step: bool = False) -> RawHit:
    return wait_for(lambda: client.hit_take(tid, step=step))  # type: ignore[no-any-return]


def _stop(client: Client, tracer: Tracer, *, step: bool = False) -> RawHit:
    assert tracer.wait() == signal.SIGSTOP
    return _hit(client, tracer.pid, step=step)


def _step_over(client: Client, tracer: Tracer, event: Event | None = None) -> None:
    assert tracer.step() == signal.SIGTRAP
    client.hit_done(event, show=False)


def test_a_write_stops_before_it_happens(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("write", 100, 1)
        assert client.watch_add(1, inferior.buffer + 100, 8) == 1
        tracer = Tracer(inferior.pid)
        for value in (5, 6, 7):
            inferior.say("write", 100, value)
            hit = _stop(client, tracer, step=True)
            assert (hit.watch, hit.address, hit.write) == (1, inferior.buffer + 100, True)
            assert (hit.kernel, hit.syscall, hit.old) == (False, -1, b"")
            assert _memory(inferior, 100) != value
            _step_over(client, tracer)
            assert _memory(inferior, 100) == value
            tracer.resume()
            assert inferior.answer() == "ok"
        assert client.status().signals == 3
        tracer.stop_and_detach()
        client.release()
        inferior.assert_clean()


def _memory(inferior: Inferior, offset: int) -> int:
    with open(f"/proc/{inferior.pid}/mem", "rb", buffering=0) as memory:
        memory.seek(inferior.buffer + offset)
        return memory.read(1)[0]


def test_an_access_of_a_kept_page_stops(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("write", 100, 42)
        client.keep(inferior.buffer, 4 * PAGE)
        client.watch_add(1, inferior.buffer, PAGE)
        tracer = Tracer(inferior.pid)
        for _ in range(2):
            inferior.say("read", 100)
            hit = _stop(client, tracer)
            assert (hit.missing, hit.write, hit.address) == (True, False, inferior.buffer + 100)
            assert inferior.present(inferior.buffer, PAGE) == 0
            client.show()
            assert _memory(inferior, 100) == 42
            client.hide()
            assert inferior.present(inferior.buffer, PAGE) == 0
            tracer.resume()  # it faults again
            _stop(client, tracer, step=True)
            _step_over(client, tracer)
            assert inferior.present(inferior.buffer, PAGE) == 0
            tracer.resume()
            assert inferior.answer() == "42"
        tracer.stop_and_detach()


def test_without_a_tracer_nobody_is_signalled(program: Path) -> None:
    with session(program) as (inferior, client):
        client.watch_add(1, inferior.buffer, PAGE)
        assert inferior.ask("write", 100, 1) == "ok"
        status = client.status()
        assert (status.signals, status.hits) == (0, 1)
        events = list(client.trace())
        assert [(e.address, e.stopped) for e in events] == [(inferior.buffer + 100, False)]


def test_detaching_resolves_waiting_faults(program: Path) -> None:
    with session(program) as (inferior, client):
        client.watch_add(1, inferior.buffer, PAGE)
        tracer = Tracer(inferior.pid)
        inferior.say("write", 100, 1)
        assert tracer.wait() == signal.SIGSTOP
        client.detaching(True)
        tracer.resume()
        assert inferior.answer() == "ok"
        tracer.stop_and_detach()


def test_trace_records_touches_and_stops_nobody(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        client.watch_add(7, inferior.buffer, 8 * PAGE, trace=True)
        for page in (0, 3, 5):
            inferior.ask("write", page * PAGE + 17, 1)
        events = list(client.trace())
        base = inferior.buffer + 17
        assert [e.address for e in events] == [base, base + 3 * PAGE, base + 5 * PAGE]
        assert {(e.watch, e.access, e.tid, e.syscall) for e in events} == {
            (7, Access.WRITE, inferior.pid, None)
        }
        assert all(e.pc for e in events)
        wait_for(lambda: inferior.ask("write", 3 * PAGE + 17, 1) and len(list(client.trace())) > 3)
        client.trace_clear()
        assert list(client.trace()) == []


def test_a_thread_that_lost_its_cpu_in_the_fault_is_in_no_call(program: Path) -> None:
    with session(program) as (inferior, client), ExitStack() as hogs:
        inferior.ask("fill", 1)
        client.watch_add(1, inferior.buffer, inferior.length, trace=True)
        for _ in range(2):
            hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            hogs.callback(hog.wait)
            hogs.callback(hog.kill)
            os.sched_setaffinity(hog.pid, {0})
        os.sched_setaffinity(inferior.pid, {0})
        os.sched_setscheduler(inferior.pid, os.SCHED_BATCH, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, inferior.pid, 19)
        for page in range(0, 256, 4):
            inferior.ask("write", page * PAGE, 1)
        events = list(client.trace())
        # One that gets no CPU before its page is protected again is recorded twice.
        assert [event.syscall for event in events] == [None] * len(events)
        assert len({event.address for event in events}) == 64
        assert len({event.pc for event in events}) == 1


def test_neighbours_of_a_traced_byte_are_no_event_and_arm_again(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        client.watch_add(7, inferior.buffer + 8, 8, trace=True)
        inferior.ask("write", 100, 1)
        assert list(client.trace()) == []
        wait_for(lambda: inferior.ask("write", 9, 1) and list(client.trace()))


def test_empty_pages_are_armed(program: Path) -> None:
    with session(program) as (inferior, client):
        client.watch_add(1, inferior.buffer, inferior.length, trace=True)
        inferior.ask("write", 200 * PAGE, 1)
        assert [e.address for e in client.trace()] == [inferior.buffer + 200 * PAGE]


@pytest.mark.parametrize("kept", [False, True])
def test_read_into_a_watched_page_is_not_broken(program: Path, kept: bool) -> None:
    with session(program) as (inferior, client):
        for offset in range(8):
            inferior.ask("write", PAGE - 4 + offset, 10 + offset)
        if kept:
            client.keep(inferior.buffer, 2 * PAGE)
        client.watch_add(1, inferior.buffer + PAGE - 4, 8)
        tracer = Tracer(inferior.pid)
        inferior.say("sysread", PAGE - 4, 8)
        hit = _stop(client, tracer)
        assert hit.kernel
        assert hit.syscall == SYS_READ
        assert hit.address == inferior.buffer + PAGE - 4
        assert hit.old == bytes([10, 11, 12, 13])
        tracer.resume()
        assert inferior.answer() == "8"
        assert _memory(inferior, PAGE + 3) == ord("Z")
        tracer.stop_and_detach()


def test_a_call_that_reaches_into_the_watched_bytes_is_found_by_its_change(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("write", 60, 1)
        client.watch_add(1, inferior.buffer + 64, 8)
        tracer = Tracer(inferior.pid)
        inferior.say("sysread", 0, 128)
        hit = _stop(client, tracer)
        assert (hit.kernel, hit.old) == (True, bytes(8))
        tracer.resume()
        assert inferior.answer() == "128"
        tracer.stop_and_detach()


def test_a_listing_of_a_folder_is_not_cut_short(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        (tmp_path / f"a-file-with-a-name-{number}").touch()
    monkeypatch.chdir(tmp_path)
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        unwatched = inferior.ask("list", 0, 16 * PAGE)
        client.watch_add(1, inferior.buffer, PAGE)
        tracer = Tracer(inferior.pid)
        inferior.say("list", 0, 16 * PAGE)
        hit = _stop(client, tracer)
        assert (hit.kernel, hit.syscall, hit.write) == (True, SYS_GETDENTS64, True)
        tracer.resume()
        assert inferior.answer() == unwatched
        assert int(unwatched) > 4 * PAGE
        tracer.stop_and_detach()


def test_a_call_beside_the_watched_bytes_is_no_hit(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("write", 60, 1)
        client.watch_add(1, inferior.buffer + 64, 8)
        tracer = Tracer(inferior.pid)
        inferior.say("sysread", 0, 32)
        assert not tracer.stops()
        assert inferior.answer() == "32"
        assert client.status().signals == 0
        client.hide()
        tracer.stop_and_detach()


def test_disable_and_delete(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        client.watch_add(1, inferior.buffer, PAGE, trace=True)
        client.watch_enable(1, False)
        inferior.ask("write", 1, 1)
        assert list(client.trace()) == []
        client.watch_enable(1, True)
        inferior.ask("write", 1, 1)
        assert len(list(client.trace())) == 1
        client.watch_delete(1)
        inferior.ask("write", 1, 1)
        assert len(list(client.trace())) == 1
        assert client.status().watched_pages == 0


def test_a_threads_name_does_not_pass_for_a_tracer(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        assert inferior.ask("name", "TracerPid:7") == "0"
        client.watch_add(1, inferior.buffer, 8)
        inferior.say("write", 0, 9)
        wait_for(lambda: client.status().hits)
        assert client.status().signals == 0
        assert inferior.answer() == "ok"
        assert [event.watch for event in client.trace()] == [1]


@pytest.mark.parametrize("change", ["delete", "disable"])
def test_a_watch_that_goes_leaves_no_gap_in_another(program: Path, change: str) -> None:
    pages = 4096
    with session(program, pages * PAGE) as (inferior, client):
        inferior.ask("fill", 1)
        client.watch_add(1, inferior.buffer, inferior.length, trace=True)
        client.watch_add(2, inferior.buffer, inferior.length, trace=True)
        inferior.say("touch", 0, pages)
        answered: list[str] = []
        waiting = threading.Thread(target=lambda: answered.append(inferior.answer()))
        waiting.start()
        while waiting.is_alive():
            if change == "delete":
                client.watch_delete(2)
                client.watch_add(2, inferior.buffer, inferior.length, trace=True)
            else:
                client.watch_enable(2, False)
                client.watch_enable(2, True)
        waiting.join()
        assert {event.address for event in client.trace()} == {
            inferior.buffer + page * PAGE for page in range(pages)
        }


def test_what_no_other_watch_covers_is_open(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        client.watch_add(1, inferior.buffer, 8 * PAGE, trace=True)
        client.watch_add(2, inferior.buffer + 2 * PAGE, PAGE, trace=True)
        client.watch_add(3, inferior.buffer + 4 * PAGE, PAGE, trace=True)
        client.watch_add(4, inferior.buffer + 4 * PAGE, 2 * PAGE, trace=True)
        client.watch_enable(3, False)
        client.watch_delete(1)
        faults = client.status().faults
        for page in (0, 1, 3, 6, 7):
            inferior.ask("write", page * PAGE, 1)
        assert client.status().faults == faults
        for page in (2, 4, 5):
            inferior.ask("write", page * PAGE, 1)
        assert [event.watch for event in client.trace()] == [2, 4, 4]
