"""Watches of any size: each write once, with who, where, what before and after."""

from __future__ import annotations

import pytest

from harness import hits, observe
from harness.drivers import json_of
from harness.gdbs import ROOT

INSIDE = f"source {ROOT}/tests/harness/inside.py"
WRITES = 500


def drive(batch, running, watch, *, more=(), end="finished", timeout=100):
    """Run an inferior to `end` under one watch; return the stops and the output."""
    noted = batch.directory / "stops.jsonl"
    output = batch.run(
        [
            INSIDE,
            f"break {end}",
            watch,
            "set var control->go = 1",
            f"python collect({str(noted)!r}, {end!r})",
            *more,
        ],
        pid=running.pid,
        timeout=timeout,
    )
    assert noted.exists(), output
    return hits.collected(noted), output


@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", [1 << 16, 1 << 24, 1 << 30], ids=["64K", "16M", "1G"])
def test_each_write_of_two_threads_is_reported_once(batch, inferiors, size):
    running = inferiors.start("two_writers.c", str(size), str(WRITES))
    stops, output = drive(
        batch, running, "uffd-watch area, +area_length", more=["uffd-list --json"], timeout=200
    )
    shown = hits.shown(output.stdout)
    assert len(stops) == len(shown) == 2 * WRITES
    first = running.control.log(0, WRITES)
    second = running.control.log(WRITES, WRITES)
    for log, function in ((first, "first_writer"), (second, "second_writer")):
        tid = log[0].tid
        mine = [(stop, hit) for stop, hit in zip(stops, shown, strict=True) if stop["tid"] == tid]
        assert len(mine) == WRITES
        for entry, (stop, hit) in zip(log, mine, strict=True):
            assert (hit.address, stop["address"]) == (entry.address, entry.address)
            assert (hit.old, hit.new) == (entry.old_bytes, entry.new_bytes), entry
            assert hit.access == "write"
            assert stop["functions"][0] == "store"
            assert function in stop["functions"]
            assert (hit.watch, stop["watch"]) == (1, 1)
    (watch,) = output.json()["watches"]
    assert watch["hits"] == 2 * WRITES
    running.assert_clean()


def test_trace_records_each_page_written_and_never_stops(batch, inferiors):
    running = inferiors.start("two_writers.c", str(1 << 24), str(WRITES))
    stops, output = drive(
        batch, running, "uffd-watch --trace area, +area_length", more=["uffd-trace show --json"]
    )
    assert stops == []
    trace = output.json()
    assert trace["dropped"] == 0
    log = running.control.log(0, 2 * WRITES)
    for tid in {entry.tid for entry in log}:
        # A page stays open for a while after a record: no event that was no write, in order.
        writes = iter([entry.address for entry in log if entry.tid == tid])
        seen = [event["address"] for event in trace["events"] if event["tid"] == tid]
        # A thread that is slow to wake finds its page protected again: the same once more.
        once = [a for i, a in enumerate(seen) if i == 0 or seen[i - 1] != a]
        assert all(address in writes for address in once)
    touched = {entry.address // 4096 for entry in log}
    assert {event["address"] // 4096 for event in trace["events"]} == touched
    assert {event["access"] for event in trace["events"]} == {"write"}
    assert {event["by"] for event in trace["events"]} == {"inferior"}
    assert all(event["symbol"].startswith("store") for event in trace["events"])
    times = [event["time_us"] for event in trace["events"]]
    assert times == sorted(times)
    running.assert_clean()


def test_neighbours_in_the_page_never_stop(batch, inferiors):
    running = inferiors.start("neighbours.c", "300")
    stops, output = drive(batch, running, "uffd-watch page->watched")
    base = running.control.base
    shown = hits.shown(output.stdout)
    assert len(shown) == len(stops) == 3
    assert shown[0].address == base + 1024
    assert shown[0].new[:1] == b"\x01"
    assert shown[1].address == base + 1024 + 63
    assert shown[1].new[:1] == b"\x02"
    assert shown[2].address in (base + 1020, base + 1024)
    assert all("write_into" in stop["functions"] for stop in stops)
    memory = observe.read(running.pid, base + 1020, 8)
    assert memory == bytes.fromhex("1122334455667788")
    running.assert_clean()


def reference(inferiors):
    """What the system calls do without a watch."""
    running = inferiors.start("syscalls_write.c")
    running.control.go()
    running.control.wait("done")
    return outcome(running)


def outcome(running):
    control = running.control
    return [control.result(index) for index in range(12)], control.long("spare")


@pytest.mark.parametrize("option", ["", "--trace"], ids=["stopping", "trace"])
def test_system_calls_are_named_and_not_broken(batch, inferiors, option):
    expected = reference(inferiors)
    running = inferiors.start("syscalls_write.c")
    stops, output = drive(
        batch,
        running,
        f"uffd-watch {option} area, +65536",
        more=["uffd-trace show --json"],
    )
    assert outcome(running) == expected
    events = output.json()["events"]
    base = running.control.base
    # Where each call begins to write.
    begins = {"read": 100, "pread64": 5000, "recvfrom": 9000, "readv": 16384}
    for name, offset in begins.items():
        assert base + offset in [
            event["address"] for event in events if event["syscall"] == name
        ], (name, events)
    assert {event["tid"] for event in events} == {running.pid}
    if option:
        assert stops == []
    else:
        assert len(stops) >= len(begins)
        shown = hits.shown(output.stdout)
        by_address = {hit.address - base: hit for hit in shown}
        for name, offset in begins.items():
            assert name in by_address[offset].extra, by_address[offset]
            assert by_address[offset].old == b"\x11" * len(by_address[offset].old)
        assert by_address[100].new.startswith(b"abcdefgh")
    running.assert_clean()


def test_each_of_many_calls_into_one_buffer_is_traced(batch, inferiors):
    """The page is protected again after a while, not only at the next stop."""
    running = inferiors.start("reader.c", "50")
    stops, output = drive(
        batch,
        running,
        "uffd-watch --trace area + 0x185, +16K",
        more=[
            "python hits = gdb.execute('uffd-list --json', to_string=True)",
            "python import json; print('LISTED', json.loads(hits)['watches'][0]['hits'])",
            "uffd-trace show --json",
        ],
    )
    assert stops == []
    events = output.json()["events"]
    assert 1 < len(events) <= 100
    assert f"LISTED {len(events)}\n" in output.stdout
    assert {event["syscall"] for event in events} == {"read"}
    assert {event["address"] for event in events} == {running.control.base + 0x185}
    assert running.control.result(0) == 50
    running.assert_clean()


def ticks(batch, inferiors, watch, commands):
    running = inferiors.start("keepmem.c", "65536")
    output = batch.run([watch, "set var control->go = 1", *commands], pid=running.pid)
    return running, output


def test_condition(batch, inferiors):
    running, output = ticks(
        batch,
        inferiors,
        "uffd-watch --condition '*ticker >= 10' *ticker",
        ["continue", "output *ticker", "continue", "output *ticker"],
    )
    assert [output.parts[index].strip() for index in (3, 5)] == ["10", "11"], output
    running.assert_clean()


def test_ignore_counts_first_hits_away(batch, inferiors):
    running, output = ticks(
        batch, inferiors, "uffd-watch --ignore 5 *ticker", ["continue", "output *ticker"]
    )
    assert output.parts[3].strip() == "6", output
    running.assert_clean()


def test_thread_filter(batch, inferiors):
    # Thread 1 never ticks: with the filter nothing stops, and the breakpoint is reached.
    running, output = ticks(
        batch,
        inferiors,
        "uffd-watch --thread 1 *ticker",
        ["tbreak tick if *ticker == 8", "continue", "output *ticker", "uffd-list --json"],
    )
    assert "Uffd watchpoint" not in output.parts[3]
    assert output.parts[4].strip() == "8", output
    running.assert_clean()


def test_temporary_goes_after_one_hit(batch, inferiors):
    running, output = ticks(
        batch, inferiors, "uffd-watch --temporary *ticker", ["continue", "uffd-list --json"]
    )
    assert hits.shown(output.parts[2])
    assert json_of(output.parts[3])["watches"] == []
    running.assert_clean()


def test_disable_enable_delete(batch, inferiors):
    running, output = ticks(
        batch,
        inferiors,
        "uffd-watch *ticker",
        [
            "continue",
            "uffd-disable 1",
            "tbreak tick if *ticker >= 5",
            "continue",
            "uffd-list --json",
            "uffd-enable 1",
            "continue",
            "output *ticker",
            "uffd-delete 1",
            "tbreak tick if *ticker >= 9",
            "continue",
            "output *ticker",
            "uffd-list --json",
        ],
    )
    assert hits.shown(output.parts[2])
    assert not hits.shown(output.parts[5])
    assert json_of(output.parts[6])["watches"][0]["enabled"] is False
    assert hits.shown(output.parts[8])
    assert output.parts[9].strip() == "6", output
    assert not hits.shown(output.parts[12])
    assert output.parts[13].strip() == "9"
    assert json_of(output.parts[14])["watches"] == []
    running.assert_clean()


def test_what_the_debugger_writes_is_no_hit(batch, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    output = batch.run(
        [
            "uffd-watch *ticker",
            "set var *ticker = 1000",
            "x/2gx ticker",
            "uffd-list --json",
            "set var control->go = 1",
            "continue",
            "output *ticker",
        ],
        pid=running.pid,
    )
    assert output.json(3)["watches"][0]["hits"] == 0
    assert output.parts[6].strip() == "1001"
    running.assert_clean()


def test_trace_exports(batch, inferiors, tmp_path):
    running = inferiors.start("two_writers.c", str(1 << 16), "50")
    csv_file, json_file = tmp_path / "trace.csv", tmp_path / "trace.json"
    drive(
        batch,
        running,
        "uffd-watch --trace area, +area_length",
        more=[
            f"uffd-trace export --format csv {csv_file}",
            f"uffd-trace export --format json {json_file}",
        ],
    )
    import csv
    import json

    with csv_file.open() as file:
        rows = list(csv.DictReader(file))
    events = json.loads(json_file.read_text())
    assert len(rows) == len(events) > 0
    assert [int(row["tid"]) for row in rows] == [event["tid"] for event in events]
    running.assert_clean()
