"""System calls in a row: each is a hit of its own, in order, and none is cut short."""

from __future__ import annotations

from harness.gdbs import ROOT

INSIDE = f"source {ROOT}/tests/harness/inside.py"
CALLS = (("recvfrom", 100), ("read", 20000), ("read", 40000), ("pread64", 300000))


def outcome(running):
    return [running.control.result(index) for index in range(10)]


def test_calls_in_a_row_are_each_reported_and_whole(batch, inferiors):
    plain = inferiors.start("calls.c")
    plain.control.go()
    plain.control.wait("done")
    running = inferiors.start("calls.c")
    output = batch.run(
        [
            INSIDE,
            "break finished",
            "uffd-watch area, +1M",
            "set var control->go = 1",
            f"python collect({str(batch.directory / 'stops.jsonl')!r}, 'finished')",
            "uffd-trace show --json",
        ],
        pid=running.pid,
    )
    running.control.wait("done")
    assert outcome(running) == outcome(plain)
    assert running.control.long("spare") == 1
    assert outcome(running)[:8:2] == [10000, 10, 200000, 12000]
    base = running.control.base
    events = output.json()["events"]
    seen = [(event["syscall"], event["address"] - base) for event in events]
    assert [call for call in seen if call in CALLS] == list(CALLS)
    assert [name for name, _ in seen if name == "getcwd"] == ["getcwd"]
    assert all(event["tid"] == running.pid for event in events)
    running.assert_clean()
