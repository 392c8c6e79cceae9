"""The kinds of programs in which it has to work."""

from __future__ import annotations

import time

import pytest

from harness import hits, observe
from harness.drivers import json_of
from harness.gdbs import ROOT

INSIDE = f"source {ROOT}/tests/harness/inside.py"
MIB = 1 << 20


@pytest.mark.parametrize("variant", ["pie", "nopie", "static", "static-stripped"])
def test_keep_watch_release(batch, inferiors, variant):
    running = inferiors.start("keepmem.c", str(4 * MIB), variant=variant)
    control = running.control
    before = control.checksum()
    output = batch.run(
        [
            INSIDE,
            f"zap --keep --json {control.base:#x}, +4M",
            f"uffd-watch --json {control.long('spare'):#x}, +8",
            "python shared(8, 1)",
            "continue",
            "continue",
            "uffd-status --json",
        ],
        pid=running.pid,
        env={"PAGEZAP_TEST_CONTROL": str(control.path)},
    )
    zapped = output.json(1)
    assert zapped["ok"], output
    assert zapped["ranges"][0]["kept"] == 1024
    assert output.json(2)["ok"]
    shown = hits.shown(output.stdout)
    assert [hit.new[0] for hit in shown] == [1, 2], output
    assert all(hit.address == control.long("spare") for hit in shown)
    assert output.json(6)["kept_pages"] == 1024
    assert control.checksum() == before
    running.assert_clean()
    assert running.finish() == 0


def test_stopped_at_entry(batch, inferiors):
    program = inferiors.program("keepmem.c", "nopie")
    control = inferiors.control()
    control.set_word("quit", 1)
    output = batch.run(
        [
            "starti",
            "zap --keep --json [stack]",
            "uffd-watch --temporary --json $sp - 64, +64",
            "continue",
            "backtrace 1",
            "break main",
            "continue",
            "uffd-release --json",
            "continue",
        ],
        program=[str(program), str(control.path), str(MIB)],
    )
    assert output.json(1)["ok"], output
    assert hits.shown(output.parts[3]), output
    assert "main (" in output.parts[6], output
    assert output.json(7)["ok"], output
    assert "exited normally" in output.parts[8], output


@pytest.mark.parametrize("call", ["futex", "nanosleep", "read", "poll"])
@pytest.mark.parametrize("end", ["continue", "detach"])
def test_blocked_in_a_system_call(batch, inferiors, call, end):
    running = inferiors.start("blocked.c", call)
    control = running.control
    time.sleep(0.2)
    before = observe.digest(running.pid, control.base, MIB)
    rest = ["break finished", "continue"] if end == "continue" else ["detach"]
    output = batch.run(
        [
            f"zap --keep --json {control.base:#x}, +1M",
            f"uffd-watch --json {control.base:#x}, +8",
            "set var control->go = 1",
            *rest,
        ],
        pid=running.pid,
    )
    assert output.json(0)["ok"], output
    if end == "continue":
        assert "finished ()" in output.parts[4], output
    control.wait("done", timeout=20)
    value, error, elapsed, byte = (control.result(index) for index in range(4))
    assert error == 0
    assert value == {"futex": 0, "nanosleep": 0, "read": 1, "poll": 1}[call]
    if call == "nanosleep":
        assert 3900 <= elapsed < 12000
    if call == "read":
        assert byte == ord("x")
    running.assert_clean()
    assert observe.digest(running.pid, control.base, MIB) == before


def test_sixty_four_threads(batch, inferiors):
    running = inferiors.start("threads64.c")
    control = running.control
    noted = batch.directory / "stops.jsonl"
    output = batch.run(
        [
            INSIDE,
            f"zap --keep --json {control.base:#x}, +{control.length}",
            "uffd-watch table, +512",
            "set var control->go = 1",
            f"python collect({str(noted)!r}, limit=64)",
            "uffd-trace show --json",
        ],
        pid=running.pid,
    )
    assert output.json(1)["ranges"][0]["kept"] == 64, output
    shown = hits.shown(output.stdout)
    assert len(shown) == 64
    table = control.long("spare")
    assert sorted(hit.address for hit in shown) == [table + 8 * index for index in range(64)]
    for hit in shown:
        assert hit.new[0] == (hit.address - table) // 8 + 1
    control.wait("done", 64)
    counts = [control.result(index) for index in range(64)]
    time.sleep(0.5)
    assert all(control.result(index) > counts[index] for index in range(64))
    running.assert_clean()
    assert running.finish() == 0


@pytest.mark.parametrize(
    ("source", "variant", "function"),
    [
        ("cxx.cpp", "c++", "shop::Node::setPrice"),
        ("rusty.rs", "rust", "set_price"),
        ("gopher.go", "go", "main.setPrice"),
    ],
    ids=["c++", "rust", "go"],
)
def test_other_languages(interactive, inferiors, source, variant, function):
    running, address, length = inferiors.start_talking(source, variant)
    gdb = interactive(pid=running.pid)
    kept = json_of(gdb.command(f"zap --keep --json {address:#x}, +{length}"))
    assert kept["ok"], kept
    assert sum(each["kept"] for each in kept["ranges"]) >= length // 4096 - 2
    watched = json_of(gdb.command(f"uffd-watch --json {address:#x}, +{length}"))
    assert watched["ok"], watched
    running.tell("work")
    for index in range(5):
        text = gdb.command("continue")
        (hit,) = hits.shown(text)
        assert hit.address == address + index * 160000 + 8
        assert hit.new[0] == index + 1
        where = gdb.command("backtrace 4")
        assert function in where, where
    assert json_of(gdb.command("uffd-release --json"))["ok"]
    gdb.command("detach")
    assert running.line() == f"done {4999950000 + 15}"
    if variant != "go":
        # Go's runtime makes threads and mappings as it likes.
        running.assert_clean()
    assert observe.vm_flags(running.pid).isdisjoint({"um", "uw", "ui"})
