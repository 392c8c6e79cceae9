"""However a session ends, every byte is back and nothing of ours is left."""

from __future__ import annotations

import os
import signal
import time

import pytest

from harness import observe
from harness.drivers import json_of

MIB = 1 << 20
WAYS = ["uffd-release", "detach", "quit", "end of file", "hang-up", "sigkill"]
STATES = ["prompt", "watch-stop", "running"]


def tracer(pid):
    return int(observe.status(pid)["TracerPid"])


@pytest.fixture(params=["pie", "static-stripped"])
def running(request, inferiors):
    return inferiors.start("keepmem.c", str(32 * MIB), variant=request.param)


def into_state(gdb, running, state):
    """Keep everything, watch the ticker, and get the session into the named state."""
    control = running.control
    kept = json_of(gdb.command(f"zap --keep --json {control.base:#x}, +32M"))
    assert kept["ok"], kept
    assert kept["ranges"][0]["kept"] == 32 * MIB // 4096
    heap = json_of(gdb.command("zap --keep --json [heap]"))
    assert heap["ok"], heap
    trace = "--trace" if state == "running" else ""
    watch = f"uffd-watch --json {trace} {control.long('spare'):#x}, +8"
    assert json_of(gdb.command(watch))["ok"]
    if state == "prompt":
        return
    control.go()
    if state == "watch-stop":
        for _ in range(2):
            assert "Uffd watchpoint 1" in gdb.command("continue")
        return
    gdb.send("continue\n")
    control.runs_on()
    # Some of it comes back by being touched, most of it stays away.
    time.sleep(0.2)


def end(gdb, running, way, state):
    if way == "sigkill":
        os.kill(tracer(running.pid), signal.SIGKILL)
        return
    if way == "hang-up":
        os.kill(tracer(running.pid), signal.SIGHUP)
        return
    if state == "running":
        gdb.interrupt()
        gdb.read_until(gdb.PROMPT)
    if way == "end of file":
        gdb.send("\x04")
        gdb.read_until("(y or n) ")
        gdb.send("y\n")
        return
    if way == "quit":
        gdb.quit()
        return
    text = gdb.command(way)
    assert "rror" not in text, text
    if way == "uffd-release":
        # Released, and still under the debugger: the inferior is only stopped.
        observe.await_no_helpers(running.pid)
        assert observe.vm_flags(running.pid).isdisjoint({"um", "uw", "ui"})
        gdb.command("detach")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("way", WAYS)
def test_release(interactive, running, way, state):
    control = running.control
    before = control.checksum()
    digest = observe.digest(running.pid, control.base, control.length)
    gdb = interactive(pid=running.pid)
    into_state(gdb, running, state)
    end(gdb, running, way, state)
    running.assert_clean()
    assert all(observe.present(running.pid, control.base, control.length))
    assert observe.digest(running.pid, control.base, control.length) == digest
    control.runs_on()
    assert control.checksum() == before
    # The program itself judges its heap at its end.
    assert running.finish() == 0


@pytest.mark.parametrize("state", STATES)
def test_kill_leaves_no_helper_and_no_agent(interactive, inferiors, state):
    running = inferiors.start("keepmem.c", str(32 * MIB))
    gdb = interactive(pid=running.pid)
    into_state(gdb, running, state)
    if state == "running":
        gdb.interrupt()
        gdb.read_until(gdb.PROMPT)
    gdb.send("kill\n")
    gdb.read_until("(y or n) ")
    gdb.send("y\n")
    gdb.read_until(gdb.PROMPT)
    running.process.wait(10)
    deadline = time.monotonic() + 5
    while observe.helpers_of(running.pid) or observe.agents_of(running.program):
        assert time.monotonic() < deadline, "a helper or an agent is left"
        time.sleep(0.05)
    assert "= 42" in gdb.command("print 6 * 7")
    gdb.quit()


def test_end_of_a_batch(batch, inferiors):
    running = inferiors.start("keepmem.c", str(32 * MIB))
    control = running.control
    before = control.checksum()
    output = batch.run(
        [
            f"zap --keep --json {control.base:#x}, +32M",
            "zap --keep --json [heap]",
            "uffd-watch *ticker",
            "set var control->go = 1",
            "continue",
        ],
        pid=running.pid,
        script=True,
    )
    assert "Uffd watchpoint 1" in output.stdout, output
    running.assert_clean()
    control.runs_on()
    assert control.checksum() == before
    assert running.finish() == 0


def test_a_failing_script_releases_too(batch, inferiors):
    running = inferiors.start("keepmem.c", str(32 * MIB))
    control = running.control
    before = control.checksum()
    batch.run(
        [f"zap --keep {control.base:#x}, +32M", "this is no command", "print 1"],
        pid=running.pid,
        script=True,
    )
    running.assert_clean()
    assert control.checksum() == before


@pytest.mark.parametrize("way", ["-target-detach", "-gdb-exit", "close"])
def test_machine_interface(mi, inferiors, way):
    running = inferiors.start("keepmem.c", str(4 * MIB))
    control = running.control
    before = control.checksum()
    gdb = mi(pid=running.pid)
    assert json_of(gdb.command(f"zap --keep --json {control.base:#x}, +4M"))["ok"]
    if way == "-target-detach":
        assert gdb.mi(way)["message"] == "done"
    elif way == "-gdb-exit":
        gdb.quit()
    else:
        gdb.process.stdin.close()
        gdb.process.wait(20)
    running.assert_clean()
    control.runs_on()
    assert control.checksum() == before


def test_the_helper_dies(interactive, inferiors):
    """Not only the debugger may die: no byte is lost with the helper either."""
    running = inferiors.start("keepmem.c", str(4 * MIB))
    control = running.control
    before = control.checksum()
    gdb = interactive(pid=running.pid)
    assert json_of(gdb.command(f"zap --keep --json {control.base:#x}, +4M"))["ok"]
    helper = json_of(gdb.command("uffd-status --json"))["helper"]["pid"]
    os.kill(helper, signal.SIGKILL)
    time.sleep(0.5)
    gdb.command("detach")
    gdb.quit()
    assert control.checksum() == before
    running.assert_clean()


def test_attach_again_after_each_release(batch, inferiors):
    running = inferiors.start("keepmem.c", str(4 * MIB))
    control = running.control
    before = control.checksum()
    for _ in range(5):
        output = batch.run(
            [f"zap --keep --json {control.base:#x}, +4M", "uffd-release --json"], pid=running.pid
        )
        assert output.json(0)["ranges"][0]["kept"] == 1024, output
        assert output.json(1)["ok"]
        running.assert_clean()
        assert control.checksum() == before
