"""After a release, a death or a crash nothing is left and no byte is lost."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from selfhost import Inferior, Tracer, ended, process_state, session, wait_for

from pagezap.native import control, launch

if TYPE_CHECKING:
    from collections.abc import Callable

ways = pytest.mark.parametrize("no_move", [False, True], ids=["move", "copy"])


def _busy(inferior: Inferior, client: control.Client) -> str:
    inferior.ask("fill", 1)
    before = inferior.sum()
    client.keep(inferior.buffer, inferior.length // 2)
    client.watch_add(1, inferior.buffer, inferior.length)
    return before


def _keeper(helper: int) -> int:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path(f"/proc/{name}/stat").read_text(encoding="utf-8")
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[1]) == helper:
                return int(name)
    raise AssertionError("no keeper")


@ways
def test_release(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        before = _busy(inferior, client)
        assert inferior.sigtrap_caught()
        assert client.release() == 128
        inferior.assert_clean()
        assert inferior.sum() == before
        wait_for(lambda: ended(client.hello.helper_pid))
        assert ended(client.hello.agent_pid)


def test_release_while_stopped_by_a_tracer(program: Path) -> None:
    with session(program) as (inferior, client):
        before = _busy(inferior, client)
        tracer = Tracer(inferior.pid)
        os.kill(inferior.pid, signal.SIGSTOP)
        tracer.wait()
        client.release()
        tracer.resume()
        tracer.stop_and_detach()
        inferior.assert_clean()
        assert inferior.sum() == before


def test_the_owners_death_releases(program: Path) -> None:
    with session(program) as (inferior, client):
        before = _busy(inferior, client)
        client.close()
        wait_for(lambda: ended(client.hello.helper_pid))
        inferior.assert_clean()
        assert inferior.sum() == before


def test_sigterm_releases(program: Path) -> None:
    with session(program) as (inferior, client):
        before = _busy(inferior, client)
        os.kill(client.hello.helper_pid, signal.SIGTERM)
        wait_for(lambda: ended(client.hello.helper_pid))
        inferior.assert_clean()
        assert inferior.sum() == before


@ways
def test_a_killed_helper_is_replaced_by_its_keeper(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        before = _busy(inferior, client)
        keeper = _keeper(client.hello.helper_pid)
        inferior.say("sum", 0, inferior.length)
        os.kill(client.hello.helper_pid, signal.SIGKILL)
        assert inferior.answer() == before
        wait_for(lambda: ended(keeper))
        inferior.assert_clean()
        assert inferior.sum() == before


def test_a_helper_that_fails_leaves_the_rest_to_its_keeper(program: Path) -> None:
    with session(program) as (inferior, client):
        before = _busy(inferior, client)
        helper, agent = client.hello.helper_pid, client.hello.agent_pid
        keeper = _keeper(helper)
        _, most = resource.prlimit(helper, resource.RLIMIT_NOFILE)
        # Fewer than it polls.
        resource.prlimit(helper, resource.RLIMIT_NOFILE, (8, most))
        client.status()
        wait_for(lambda: ended(helper))
        wait_for(lambda: ended(agent))
        wait_for(lambda: ended(keeper))
        inferior.assert_clean()
        assert inferior.sum() == before


@ways
def test_killed_while_it_works(program: Path, no_move: bool) -> None:
    for delay in (0.0, 0.0005, 0.002, 0.005, 0.01):
        with session(program, 32 << 20, no_move=no_move) as (inferior, client):
            inferior.ask("fill", 1)
            before = inferior.sum()
            helper = client.hello.helper_pid
            keeper = _keeper(helper)
            pid = os.fork()
            if pid == 0:
                time.sleep(delay)
                os.kill(helper, signal.SIGKILL)
                os._exit(0)
            try:
                while True:
                    client.keep(inferior.buffer, inferior.length)
                    client.refault()
            except control.HelperGoneError:
                pass
            os.waitpid(pid, 0)
            wait_for(lambda k=keeper: ended(k))
            inferior.assert_clean()
            assert inferior.sum() == before


def test_the_inferiors_death_ends_everything(program: Path) -> None:
    with session(program) as (inferior, client):
        _busy(inferior, client)
        keeper = _keeper(client.hello.helper_pid)
        inferior.process.kill()
        inferior.process.wait()
        wait_for(lambda: ended(client.hello.helper_pid))
        wait_for(lambda: ended(client.hello.agent_pid))
        wait_for(lambda: ended(keeper))


@ways
def test_a_killed_agent_takes_no_content_with_it(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        before = _busy(inferior, client)
        os.kill(client.hello.agent_pid, signal.SIGKILL)
        wait_for(lambda: ended(client.hello.helper_pid), 10)
        assert inferior.present() == 256
        assert not inferior.vm_flags(inferior.buffer) & {"um", "uw"}
        assert inferior.sum() == before


@ways
def test_release_without_an_agent(program: Path, no_move: bool) -> None:
    with session(program, no_move=no_move) as (inferior, client):
        before = _busy(inferior, client)
        os.kill(client.hello.agent_pid, signal.SIGKILL)
        wait_for(lambda: ended(client.hello.agent_pid))
        assert client.release() == 128
        assert inferior.sum() == before


@ways
def test_a_parent_that_ends_leaves_the_content_to_its_child(program: Path, no_move: bool) -> None:
    size = 256 << 20
    with session(program, size, no_move=no_move) as (inferior, client):
        inferior.ask("fill", 1)
        # The last pages, which the child gets last.
        before = inferior.ask("sum", size - (1 << 20), 1 << 20)
        client.keep(inferior.buffer, size)
        child = int(inferior.ask("daemonize"))
        try:
            assert inferior.ask("sum", size - (1 << 20), 1 << 20) == before
            wait_for(lambda: ended(client.hello.helper_pid))
            wait_for(lambda: ended(client.hello.agent_pid))
        finally:
            os.kill(child, signal.SIGKILL)


def test_exec_ends_everything(program: Path) -> None:
    with session(program) as (inferior, client):
        _busy(inferior, client)
        inferior.say("exec")
        wait_for(lambda: ended(client.hello.helper_pid))
        wait_for(lambda: ended(client.hello.agent_pid))
        assert process_state(inferior.pid) == "S"


def test_a_stray_sigtrap_does_not_end_the_inferior(program: Path) -> None:
    with session(program) as (inferior, client):
        assert inferior.ask("trap") == "ok"
        client.release()
        inferior.assert_clean()


def test_a_second_helper_is_refused(program: Path) -> None:
    with session(program) as (inferior, client):
        with pytest.raises(launch.LaunchError):
            launch.start(inferior.pid, **inferior.place)
        inferior.ask("fill", 1)
        before = inferior.sum()
        client.keep(inferior.buffer, inferior.length)
        assert inferior.sum() == before


def test_a_child_inherits_no_mapping(program: Path) -> None:
    with session(program) as (inferior, client):
        before = _busy(inferior, client)
        inferior.say("fork", 0, inferior.length, 1)
        assert inferior.answer() == before
        children = Path(f"/proc/{inferior.pid}/task/{inferior.pid}/children")
        child = int(children.read_text(encoding="utf-8").split()[0])
        text = Path(f"/proc/{child}/maps").read_text(encoding="utf-8")
        assert "pagezap" not in text
        os.kill(child, signal.SIGKILL)


def _debugger(inferior: Inferior, body: Callable[[control.Client, Tracer], None]) -> int:
    """A process that owns a session and traces the inferior; its pid, once ``body`` ended."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            client = launch.start(inferior.pid, **inferior.place)
            body(client, Tracer(inferior.pid))
            os.write(writer, client.hello.helper_pid.to_bytes(4, "little"))
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    helper = int.from_bytes(os.read(reader, 4), "little")
    os.close(reader)
    assert helper
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return helper


def test_a_debugger_killed_in_a_step_leaves_the_program_running(program: Path) -> None:
    inferior = Inferior(program)
    try:

        def body(client: control.Client, tracer: Tracer) -> None:
            client.keep(inferior.buffer, inferior.length)
            tracer.interrupt()
            # In the signal stop of the step: its SIGTRAP is delivered when the tracer dies.
            assert tracer.step() == signal.SIGTRAP

        inferior.ask("fill", 1)
        before = inferior.sum()
        inferior.say("spin")
        helper = _debugger(inferior, body)
        wait_for(lambda: ended(helper), 10)
        inferior.assert_clean()
        os.kill(inferior.pid, signal.SIGUSR1)
        assert inferior.answer() == "spun"
        assert inferior.sum() == before
    finally:
        inferior.end()


def test_a_debugger_killed_at_a_hit_leaves_the_program_running(program: Path) -> None:
    inferior = Inferior(program)
    try:

        def body(client: control.Client, tracer: Tracer) -> None:
            client.watch_add(1, inferior.buffer, inferior.length)
            inferior.say("write", 100, 7)
            assert tracer.wait() == signal.SIGSTOP

        helper = _debugger(inferior, body)
        assert inferior.answer() == "ok"
        wait_for(lambda: ended(helper), 10)
        inferior.assert_clean()
        assert inferior.ask("read", 100) == "7"
    finally:
        inferior.end()
