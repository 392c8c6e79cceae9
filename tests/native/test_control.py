"""The protocol's edges."""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
from typing import TYPE_CHECKING

import pytest
from selfhost import PAGE, ended, session, wait_for

from pagezap.native import control, wire

if TYPE_CHECKING:
    from pathlib import Path

HEADER = struct.Struct("<HHIIi")


def _raw(pid: int) -> socket.socket:
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    raw.settimeout(5)
    raw.connect(control.socket_names(pid)[0])
    return raw


def _status(raw: socket.socket, packet: bytes) -> int:
    raw.send(packet)
    status: int = HEADER.unpack_from(raw.recv(65536))[4]
    return status


def test_malformed_packets_are_answered(program: Path) -> None:
    with session(program) as (inferior, client), _raw(inferior.pid) as raw:
        assert _status(raw, b"\1") == -errno.EPROTO
        assert _status(raw, HEADER.pack(2, 2, 0, 1, 0)) == -errno.EPROTO
        assert _status(raw, HEADER.pack(1, 99, 0, 1, 0)) == -errno.EOPNOTSUPP
        assert _status(raw, HEADER.pack(1, 0, 0, 1, 0)) == -errno.EOPNOTSUPP
        assert _status(raw, HEADER.pack(1, 3, 4, 1, 0) + b"abcd") == -errno.EPROTO
        assert _status(raw, HEADER.pack(1, 3, 9, 1, 0)) == -errno.EPROTO
        for start, length in ((1, PAGE), (PAGE, 1), (0, 0), (2**64 - PAGE, 2 * PAGE), (PAGE, 0)):
            packet = HEADER.pack(1, 3, 24, 1, 0) + struct.pack("<QQII", start, length, 0, 0)
            assert _status(raw, packet) == -errno.EINVAL
        assert client.status().faults == 0


def test_garbage_does_not_end_the_helper(program: Path) -> None:
    rng = random.Random(7)
    operations = [0, 40000, *(op for op in wire.Op if op is not wire.Op.RELEASE)]
    with session(program) as (inferior, client), _raw(inferior.pid) as raw:
        inferior.ask("fill", 1)
        before = inferior.sum()
        for _ in range(3000):
            op = rng.choice(operations)
            body = rng.randbytes(rng.choice([0, 4, 8, 16, 24, 32, 64, 200]))
            _status(raw, HEADER.pack(1, op, len(body), 1, 0) + body)
            raw_socket = rng.randbytes(rng.randrange(1, 60))
            _status(raw, raw_socket)
        assert client.status().managed_pages == 0
        client.release()
        assert inferior.sum() == before
        inferior.assert_clean()


def test_requests_that_are_almost_right_keep_to_their_range(program: Path) -> None:
    """Every operation with aligned ranges, small numbers and lengths that some operation has."""
    rng = random.Random(11)
    operations = [op for op in wire.Op if op is not wire.Op.RELEASE]
    with session(program) as (inferior, client), _raw(inferior.pid) as raw:
        inferior.ask("fill", 1)
        half = inferior.length // 2
        before = inferior.ask("sum", half, half)
        pages = half // PAGE
        for _ in range(4000):
            first = rng.randrange(pages)
            length = rng.randrange(1, pages - first + 1) * PAGE
            range_of_it = [inferior.buffer + first * PAGE, length]
            rest = [rng.choice([0, 0, 1, 2, 5, 7 << 32]) for _ in range(rng.choice([0, 1, 2, 7]))]
            words = rng.choice([range_of_it, [], rest[:1]]) + rest
            body = struct.pack(f"<{len(words)}Q", *words)
            _status(raw, HEADER.pack(1, rng.choice(operations), len(body), 1, 0) + body)
        assert client.status().managed_pages
        client.hide()
        client.release()
        assert inferior.ask("sum", half, half) == before
        inferior.assert_clean()


def test_a_client_that_is_not_the_owner(program: Path) -> None:
    with session(program) as (inferior, client):
        with control.Client.connect(inferior.pid) as other:
            assert other.hello.helper_pid == client.hello.helper_pid
        with pytest.raises(control.ControlError) as caught:
            control.Client.connect(inferior.pid, owner=True)
        assert caught.value.errno == errno.EBUSY
        assert client.status().uptime_us > 0


def test_nobody_there() -> None:
    with pytest.raises(control.HelperGoneError):
        control.Client.connect(os.getpid())


def _event(pid: int, time_us: int) -> wire.Event:
    return wire.Event(time_us, 2, 3, 4, pid, 6, None, wire.Access.WRITE, wire.By.INFERIOR, True)


def test_trace_events_of_the_debugger(program: Path) -> None:
    with session(program) as (inferior, client):
        client.hit_done(_event(inferior.pid, 1), show=False)
        client.trace_clear()
        client.hit_done(_event(inferior.pid, 2), show=False)
        client.hit_done(None, show=False)
        assert list(client.trace()) == [_event(inferior.pid, 2)]


def test_the_trace_ring_says_what_it_dropped(program: Path) -> None:
    with session(program, ring=8) as (inferior, client):
        for i in range(1, 21):
            client.hit_done(_event(inferior.pid, i), show=False)
        part = client.trace_read(0)
        assert (part.dropped, part.next, [e.time_us for e in part.events]) == (
            12,
            20,
            list(range(13, 21)),
        )


def test_the_trace_is_read_after_the_end(program: Path) -> None:
    with session(program) as (inferior, client):
        client.hit_done(_event(inferior.pid, 1), show=False)
        inferior.end()
        wait_for(lambda: ended(client.hello.agent_pid))
        assert list(client.trace()) == [_event(inferior.pid, 1)]
        with pytest.raises(control.ControlError) as caught:
            client.status()
        assert caught.value.errno == errno.ESRCH
        assert not ended(client.hello.helper_pid)
        client.close()
        wait_for(lambda: ended(client.hello.helper_pid))


def test_descriptors_nobody_asked_for_are_closed(program: Path) -> None:
    with session(program) as (inferior, client), _raw(inferior.pid) as raw:
        folder = f"/proc/{client.hello.helper_pid}/fd"
        status = HEADER.pack(1, 2, 0, 1, 0)
        socket.send_fds(raw, [status], [0])
        raw.recv(65536)
        client.status()  # it is answered before the descriptor is closed
        before = len(os.listdir(folder))
        for _ in range(4):
            socket.send_fds(raw, [status], [0, 0])
            raw.recv(65536)
        client.status()
        assert len(os.listdir(folder)) == before


def test_a_client_that_reads_no_answer_is_dropped(program: Path) -> None:
    with session(program) as (inferior, client), _raw(inferior.pid) as raw:
        inferior.ask("fill", 1)
        before = inferior.sum()
        client.keep(inferior.buffer, inferior.length)
        raw.setblocking(False)

        def dropped() -> bool:
            try:
                while True:
                    raw.send(HEADER.pack(1, 2, 0, 1, 0))
            except BlockingIOError:
                return False
            except OSError as error:
                return error.errno in {errno.EPIPE, errno.ECONNRESET}

        wait_for(dropped)
        with control.Client.connect(inferior.pid) as other:
            assert other.status().kept_stash == 256
        assert inferior.sum() == before
        assert client.release() == 0


def test_own_mappings(program: Path) -> None:
    with session(program) as (inferior, client):
        assert client.own() == []
        inferior.ask("fill", 1)
        client.keep(inferior.buffer, 8 * PAGE)
        ((start, length),) = client.own()
        assert length == 8 * PAGE
        assert any(line.startswith(f"{start:x}-") for line in inferior.maps())
