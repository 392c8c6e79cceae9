"""The commands on watches and on what they record."""

from __future__ import annotations

import csv
import json


def test_watches_are_listed_enabled_and_deleted(batch, started):
    output = batch.run(
        [
            "uffd-watch buf, +100",
            "uffd-watch --trace --json nodes[300]",
            "uffd-watch --temporary --ignore 2 --condition (nodes[0].key>3) --json nodes[5]",
            "uffd-list",
            "uffd-disable 1",
            "uffd-list --json",
            "uffd-delete 1-2",
            "uffd-list --json",
            "uffd-delete",
            "uffd-list",
            "pagemap-check --json buf, +64K",
        ],
        pid=started.pid,
    )
    assert "Uffd watchpoint 1: buf, +100" in output.parts[0]
    assert output.json(1)["watch"]["mode"] == "trace"
    third = output.json(2)["watch"]
    assert (third["id"], third["length"], third["ignore"]) == (3, 16, 2)
    assert (third["condition"], third["temporary"]) == ("(nodes[0].key>3)", True)
    assert "stop only if (nodes[0].key>3)" in output.parts[3]
    assert [watch["enabled"] for watch in output.json(5)["watches"]] == [False, True, True]
    assert [watch["id"] for watch in output.json(7)["watches"]] == [3]
    assert "No uffd watchpoints." in output.parts[9]
    assert output.json(10)["consistent"]


def test_a_watch_takes_its_range_as_an_option(batch, started):
    output = batch.run(
        [
            "uffd-watch --json --range 'buf + 8, +100'",
            "uffd-watch --range=nodes[5] --json --trace",
            "uffd-watch --json --range nodes[5] nodes[6]",
            "uffd-watch --json --range nodes[5] --range nodes[6]",
            "uffd-watch --json",
            "uffd-list --json",
        ],
        pid=started.pid,
    )
    watches = [output.json(index)["watch"] for index in (0, 1)]
    assert [(each["start"], each["length"]) for each in watches] == [
        (started.buf + 8, 100),
        (started.buf + 5 * 16, 16),
    ]
    kinds = [output.json(index)["error"]["kind"] for index in (2, 3, 4)]
    assert kinds == ["extra-argument", "repeated-option", "missing-argument"]
    assert len(output.json(5)["watches"]) == 2


def test_an_export_holds_what_show_shows(batch, inferiors, tmp_path):
    running = inferiors.start("keepmem.c", "65536")
    running.control.go()
    ticker = running.control.long("spare")
    files = {kind: tmp_path / f"out.{kind}" for kind in ("csv", "json")}
    output = batch.run(
        [
            f"uffd-watch {ticker:#x}, +8",
            "continue",
            "continue",
            "uffd-trace show --json",
            f"uffd-trace export --format csv {files['csv']}",
            f"uffd-trace export '{files['json']}'",
            "uffd-trace export --format csv '~/of trace.csv'",
            "uffd-trace show",
            "uffd-trace clear",
            "uffd-trace show --json",
        ],
        pid=running.pid,
    )
    events = output.json(3)["events"]
    assert [event["address"] for event in events] == [ticker, ticker], output
    assert {event["access"] for event in events} == {"write"}
    assert {event["by"] for event in events} == {"inferior"}
    assert all(event["symbol"].startswith("tick") for event in events)
    assert all(event["syscall"] is None for event in events)
    rows = list(csv.DictReader(files["csv"].open()))
    assert [int(row["address"]) for row in rows] == [ticker, ticker]
    assert json.loads(files["json"].read_text()) == events
    assert (tmp_path / "of trace.csv").read_text() == files["csv"].read_text()
    assert f"{ticker:#x}" in output.parts[7]
    assert output.json(9) == {"command": "uffd-trace", "ok": True, "events": [], "dropped": 0}
    running.assert_clean()


def test_an_export_that_cannot_be_written(batch, started):
    output = batch.run(
        ["uffd-trace export --json /nonexistent/x.csv",
         "uffd-trace export --json --format json /dev/full"],
        pid=started.pid,
    )  # fmt: skip
    for index, path in enumerate(("/nonexistent/x.csv", "/dev/full")):
        error = output.json(index)["error"]
        assert error["kind"] == "system"
        assert error["message"].startswith(f"Cannot write {path}: ")
        assert error["hint"]
