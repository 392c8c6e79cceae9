"""Where gdb does not wait for what it runs, a watch that stops is refused or waits for gdb."""

from __future__ import annotations

import itertools

import pytest


def test_a_hit_in_the_background_waits(interactive, program):
    gdb = interactive(program=[program])
    gdb.run(["break begin", "run", "uffd-watch *it"])
    for number, write in itertools.product((1, 2), ("it->key += n;", "it->flag = n;")):
        gdb.command("continue &")
        gdb.read_until("stands before a write to a watched page")
        gdb.read_until(write)
        # Nothing is lost: the access is made, and the hit told of, where gdb waits.
        assert "Selected thread is running" not in gdb.command("info registers rip")
        shown = gdb.command("continue")
        assert "Uffd watchpoint 1: *it\nwrite at " in shown
        assert f"add (n={number})" in shown
    gdb.command("uffd-delete")
    gdb.command("continue &")
    gdb.read_until("Breakpoint 1, begin")
    assert "= 15" in gdb.command("print it->key")
    gdb.command("uffd-release")
    assert "exited normally" in gdb.command("continue")
    gdb.quit()


@pytest.mark.parametrize("command", ["zap --keep it, +8", "uffd-watch *it"])
def test_non_stop_is_refused(batch, program, command):
    output = batch.run(["set non-stop on", "break begin", "run", command], program=[program])
    assert output.stderr.count("pagezap does not work in gdb's non-stop mode. ") == 1, output
    assert "Uffd watchpoint" not in output.stdout


@pytest.mark.parametrize("name", ["mi-async", "target-async"])
def test_mi_async_is_refused(mi, program, name):
    gdb = mi(program=[program])
    gdb.mi(f"-gdb-set {name} on")
    gdb.mi("-break-insert begin")
    gdb.mi("-exec-run")
    text = gdb.command("uffd-watch *it")
    assert "No watch can stop the program while mi-async is on. -gdb-set mi-async off" in text
    assert "Uffd tracepoint 1" in gdb.command("uffd-watch --trace *it")
    gdb.mi("-exec-continue")
    shown = "".join(each["payload"] or "" for each in gdb.records if each["type"] == "console")
    assert shown.count("Breakpoint 1, begin") == 2
    assert "= 15" in gdb.command("print it->key")
    gdb.quit()
