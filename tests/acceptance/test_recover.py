"""`pagezap recover`: what brings pages back where gdb does not any more."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from harness import gdbs, observe


def recover(pid, *options):
    return subprocess.run(
        [gdbs.PAGEZAP, "recover", *options, str(pid)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_a_hung_debugger_is_done_without(interactive, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    before = running.control.checksum()
    gdb = interactive(pid=running.pid)
    gdb.command(f"zap --keep {running.control.base:#x}, +64K")
    gdb.send("continue\n")
    running.control.runs_on()
    gdb.process.send_signal(signal.SIGSTOP)
    done = recover(running.pid, "--json")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["refaulted"] == 16
    assert all(observe.present(running.pid, running.control.base, 65536))
    assert running.control.checksum() == before
    gdb.close()
    running.assert_clean()


@pytest.mark.parametrize(("kept", "words"), [(4096, "1 page of"), (8192, "2 pages of")])
def test_it_says_what_came_back(kept, words, interactive, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    gdb = interactive(pid=running.pid)
    gdb.command(f"zap --keep {running.control.base:#x}, +{kept}")
    gdb.send("continue\n")
    running.control.runs_on()
    done = recover(running.pid)
    assert done.stdout.startswith(f"Brought back {words} process {running.pid} and "), done
    gdb.close()
    running.assert_clean()


def test_nothing_to_recover_is_said(inferiors):
    running = inferiors.start("keepmem.c", "65536")
    done = recover(running.pid)
    assert done.returncode == 1
    assert "there is nothing to recover" in done.stderr
    running.assert_clean()
