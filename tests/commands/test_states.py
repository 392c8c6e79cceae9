"""What the commands tell of pages, session and machine."""

from __future__ import annotations


def test_a_status_has_the_same_keys_without_a_session(batch, started):
    output = batch.run(
        ["uffd-status --json", "zap --via agent buf, +4K", "uffd-status --json"], pid=started.pid
    )
    none, some = output.json(0), output.json(2)
    assert set(none) == set(some)
    assert (none["helper"], none["agent"], none["features"]) == (None, None, [])
    assert none["inferior"] == {"pid": started.pid}
    numbers = {key for key, value in some.items() if type(value) is int}
    assert "kept_stash" in numbers
    assert {none[key] for key in numbers} == {0}


def test_markers_are_told_from_swap(batch, started):
    output = batch.run(["pagemap-check --json guarded, +16K", "pagemap-show guarded, +16K"],
                       pid=started.pid)  # fmt: skip
    result = output.json(0)
    assert result["pages"]["marker"] == 1, result
    assert result["pages"]["resident"] == 3
    assert result["pages"]["swapped"] == 0
    assert "marker-reads-as-swap" in {finding["kind"] for finding in result["findings"]}
    assert result["consistent"]
    assert "#g##" in output.parts[1]


def test_a_kept_range_is_drawn_and_explained(batch, started):
    output = batch.run(
        [
            "zap buf, +256K",
            "set var *(char (*)[262144]) buf = {0}",
            "set var *(char (*)[65536]) buf = *(char (*)[65536]) (buf + 131072)",
            "zap --keep --json buf, +32K",
            "pagemap-show buf, +64K",
            "pagemap-check --json buf, +64K",
            "pagemap-show --json buf, +64K",
        ],
        pid=started.pid,
    )  # fmt: skip
    assert output.json(3)["ranges"][0]["kept"] == 8, output
    assert "KKKKKKKK########" in output.parts[4]
    check = output.json(5)
    assert (check["pages"]["kept"], check["pages"]["resident"]) == (8, 8)
    (finding,) = [each for each in check["findings"] if each["kind"] == "kept-not-populated"]
    assert (finding["start"], finding["pages"]) == (started.buf, 8)
    (drawn,) = output.json(6)["ranges"]
    assert [run[2] for run in drawn["runs"]] == ["kept", "resident"]


def test_a_watch_on_kept_and_on_empty_pages_is_no_loss(batch, started):
    output = batch.run(
        [
            "zap guarded + 8192, +8K",
            "zap --keep guarded + 8192, +4K",
            "zap --fill 7 buf, +16K",
            "zap --keep buf, +8K",
            "uffd-watch buf, +64K",
            "uffd-watch guarded + 8192, +8K",
            "pagemap-check --json buf, +64K -- guarded, +16K",
        ],
        pid=started.pid,
    )
    check = output.json(6)
    assert check["consistent"], check
    assert {finding["severity"] for finding in check["findings"]} <= {"info"}, check


def test_doctor_looks_at_machine_and_inferior(batch, started):
    output = batch.run(["uffd-doctor --json", "uffd-doctor"], pid=started.pid)
    checks = {check["name"]: check for check in output.json(0)["checks"]}
    for name in ("helper", "userfaultfd", "wp", "process-bits", "process-seccomp"):
        assert checks[name]["available"] in {True, False}
        assert set(checks[name]) == {"name", "available", "detail", "fix"}
    assert checks["helper"]["available"]
    assert checks["process-bits"]["available"]
    assert all(name in output.parts[1] for name in checks)
