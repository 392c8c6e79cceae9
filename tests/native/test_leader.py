"""The first thread calls pthread_exit(3) and is a zombie; the others go on."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from selfhost import PAGE, Inferior, Tracer, ended, process_state, session, wait_for

from pagezap.native import launch

if TYPE_CHECKING:
    from pathlib import Path

    from pagezap.native.control import Client

CHECK_US = 1_000_000
"""How often the helper looks whether the inferior is still what it was."""

ways = pytest.mark.parametrize("no_move", [False, True], ids=["move", "copy"])


def _await_check(client: Client) -> None:
    """Return when the helper has looked at the inferior, which it does before it answers."""
    begin = client.status().uptime_us
    wait_for(lambda: client.status().uptime_us >= begin + CHECK_US)


def _assert_gone(client: Client, inferior: Inferior) -> None:
    wait_for(lambda: ended(client.hello.helper_pid))
    assert ended(client.hello.agent_pid)
    inferior.assert_clean()


@ways
def test_a_leader_that_has_left_is_no_exec(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        inferior.ask("fill", 1)
        before = inferior.sum()
        client.keep(inferior.buffer, inferior.length)
        inferior.leave()
        _await_check(client)
        assert client.status().kept_stash + client.status().kept_store == 256
        assert inferior.sum() == before
        # What needs the mappings.
        assert client.keep(inferior.buffer, inferior.length).kept == 256
        client.watch_add(1, inferior.buffer, PAGE)
        assert client.release() == 256
        _assert_gone(client, inferior)
        assert inferior.sum() == before


def test_a_session_begins_after_the_leader_has_left(program: Path) -> None:
    inferior = Inferior(program)
    try:
        inferior.ask("fill", 1)
        before = inferior.sum()
        inferior.leave()
        with launch.start(inferior.pid, **inferior.place) as client:
            assert client.keep(inferior.buffer, inferior.length).kept == 256
            _await_check(client)
            assert inferior.sum() == before
            client.release()
            _assert_gone(client, inferior)
    finally:
        inferior.end()


def test_the_keeper_does_not_need_the_leader(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        before = inferior.sum()
        client.keep(inferior.buffer, inferior.length)
        inferior.leave()
        os.kill(client.hello.helper_pid, signal.SIGKILL)
        assert inferior.sum() == before
        wait_for(lambda: ended(client.hello.agent_pid))
        inferior.assert_clean()


def test_an_exec_after_the_leader_has_left_ends_everything(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.leave()
        inferior.say("exec")
        wait_for(lambda: ended(client.hello.helper_pid))
        wait_for(lambda: ended(client.hello.agent_pid))
        assert process_state(inferior.pid) == "S"


def test_a_stop_that_no_debugger_took_is_undone(program: Path) -> None:
    """The leader's state does not tell that the process is stopped."""
    with session(program) as (inferior, client):
        client.watch_add(1, inferior.buffer, inferior.length)
        inferior.leave()
        tracer = Tracer(inferior.task)
        inferior.say("write", 100, 7)
        assert tracer.wait() == signal.SIGSTOP
        assert client.status().signals == 1
        tracer.detach(signal.SIGSTOP)
        wait_for(lambda: process_state(inferior.task) == "T")
        client.close()
        assert inferior.answer() == "ok"
        _assert_gone(client, inferior)
