"""Somebody has killed the agent: nobody is told that it lives, and a release is one still."""

from __future__ import annotations

import pytest

from harness import hits

PAGE = 4096
KILL = """
import json, os, signal, time
status = json.loads(gdb.execute("uffd-status --json", to_string=True))
agent = status["agent"]["pid"]
os.kill(agent, signal.SIGKILL)
while status["agent"]:
    time.sleep(0.01)
    status = json.loads(gdb.execute("uffd-status --json", to_string=True))
"""


@pytest.fixture
def kill(batch):
    script = batch.directory / "kill.py"
    script.write_text(KILL)
    return f"source {script}"


@pytest.mark.parametrize("variant", ["pie", "static-stripped"])
@pytest.mark.parametrize("end", ["uffd-release --json", "detach"])
def test_a_release_leaves_nothing(batch, inferiors, kill, end, variant):
    running = inferiors.start("keepmem.c", str(64 * PAGE), variant=variant)
    before = running.control.checksum()
    output = batch.run(
        [f"zap --keep {running.control.base:#x}, +256K",
         f"uffd-watch {running.control.long('spare'):#x}, +8",
         kill, "uffd-status --json", "uffd-status", end],
        pid=running.pid,
    )  # fmt: skip
    assert output.json(3)["agent"] is None, output
    assert "gone" in output.parts[4], output
    if "json" in end:
        released = output.json(5)
        assert released["ok"], output
        assert released["refaulted"] == 64
    assert "left" not in output.stderr, output
    running.assert_clean()
    assert running.control.checksum() == before


def test_what_cannot_be_removed_is_named(batch, inferiors, kill):
    running = inferiors.start("keepmem.c", str(64 * PAGE))
    script = batch.directory / "refuse.py"
    script.write_text(
        "from pagezap.debugger import errors, inject\n"
        "def session(self): raise errors.UnsupportedError('not now')\n"
        "usual, inject.Injector.session = inject.Injector.session, session\n"
    )
    output = batch.run(
        [f"zap --keep {running.control.base:#x}, +256K", kill, f"source {script}",
         "uffd-release --json", "uffd-status --json"],
        pid=running.pid,
    )  # fmt: skip
    released = output.json(3)
    assert not released["ok"], output
    assert released["released"] is True
    assert released["error"]["kind"] == "left-behind"
    assert "descriptor 10" in released["error"]["message"]
    assert output.json(4)["helper"] is None


def test_hits_are_served_without_it(batch, program, kill):
    output = batch.run(
        ["tbreak begin", "run", "uffd-watch it->key", kill, "continue", "uffd-release", "kill"],
        program=[program],
    )
    assert len(hits.shown(output.stdout)) == 1, output
