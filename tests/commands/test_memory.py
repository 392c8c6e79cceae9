"""What the commands do to real memory: bytes and pages, seen from outside."""

from __future__ import annotations

PAGE = 4096


def test_what_breaks_the_inferior_needs_force(batch, started):
    output = batch.run(
        [
            "zap --json --round out code, +1",
            "zap --json --round out [stack]",
            "zap --json locked, +16K",
            "zap --json shared, +16K",
            "zap --json --force locked, +16K",
            "zap --json --force shared, +16K",
        ],
        pid=started.pid,
    )
    kinds = [output.json(index)["error"]["kind"] for index in range(4)]
    assert kinds == ["code", "stack", "mlocked", "shared"], output
    assert all("--force" in output.json(index)["error"]["hint"] for index in range(4))
    for index, via in ((4, {"inject", "remote"}), (5, {"punch"})):
        (done,) = output.json(index)["ranges"]
        assert done["zapped"] == 4, done
        assert done["via"] in via
    assert started.read(started.locked, 16384) == bytes(16384)
    assert started.read(started.shared, 16384) == bytes(16384)


def test_nothing_is_touched_where_one_of_several_ranges_is_refused(batch, started):
    output = batch.run(["zap --json buf, +16K -- locked, +16K"], pid=started.pid)
    assert output.json(0)["error"]["kind"] == "mlocked"
    assert started.read(started.buf, PAGE) == b"\1" * PAGE


def test_several_ranges_by_one_call(batch, started):
    ranges = " -- ".join(f"buf + {page * PAGE}, +4K" for page in range(0, 20, 2))
    output = batch.run([f"zap --json --via inject {ranges}"], pid=started.pid)
    result = output.json(0)
    assert [done["zapped"] for done in result["ranges"]] == [1] * 10, result
    assert {done["via"] for done in result["ranges"]} == {"inject"}
    for page in range(20):
        expected = 0 if page % 2 == 0 else page + 1
        assert started.read(started.buf + page * PAGE, PAGE) == bytes([expected]) * PAGE


def test_overlapping_ranges_are_refused(batch, started):
    output = batch.run(["zap --json buf, +16K -- buf + 4096, +4096"], pid=started.pid)
    assert output.json(0)["error"]["kind"] == "overlapping-ranges"


def test_a_part_that_cannot_be_kept_is_listed_and_the_rest_is_done(batch, started):
    # Pages shared with a forked child cannot be moved.
    output = batch.run(
        ["print buf[0] = 1", "zap --keep --json buf, +16K", "zap --keep buf, +16K"],
        pid=started.pid,
    )
    result = output.json(1)
    (done,) = result["ranges"]
    assert done["kept"] + done["skipped"] == 4
    if done["skipped"]:
        assert result["ok"] is False
        assert result["error"]["kind"] == "partial"
        assert done["reason"]
    assert started.read(started.buf, PAGE) == b"\1" * PAGE


def test_via_remote_is_refused_by_the_kernel_or_works(batch, started):
    output = batch.run(["zap --json --via remote buf, +4K"], pid=started.pid)
    result = output.json(0)
    if result["ok"]:
        assert started.read(started.buf, PAGE) == bytes(PAGE)
    else:
        assert result["error"]["kind"] == "remote-refused"
        assert started.read(started.buf, PAGE) == b"\1" * PAGE


def test_via_agent_sets_a_session_up(batch, started):
    output = batch.run(
        ["zap --json --via agent buf, +4K", "uffd-status --json", "uffd-release --json"],
        pid=started.pid,
    )
    (done,) = output.json(0)["ranges"]
    assert (done["via"], done["zapped"]) == ("agent", 1)
    assert output.json(1)["helper"]["pid"]
    assert output.json(2)["released"]
    assert started.read(started.buf, PAGE) == bytes(PAGE)
    assert started.read(started.buf + PAGE, PAGE) == b"\2" * PAGE


def test_what_is_told_is_what_is_done(batch, started):
    output = batch.run(
        [
            "zap --fill 0x11 buf, +4K",
            "zap --fill 0xcc buf, +4K",
            "zap --dry-run --json --via remote buf, +4K",
            "zap --json --via remote buf + 65536, +4K",
            "zap buf + 65536, +4K",
            "set var buf[65536] = 1",
            "zap --keep buf + 65536, +4K",
            "zap --dry-run buf + 65536, +4K",
            "zap --dry-run --keep buf + 65536, +4K",
            "x/2xb buf",
        ],
        pid=started.pid,
    )
    assert "1 filled" in output.parts[0]
    assert "1 filled" in output.parts[1], output
    assert output.json(2)["ok"] == output.json(3)["ok"]
    if not output.json(2)["ok"]:
        assert output.json(2)["error"] == output.json(3)["error"]
    assert "1 kept" in output.parts[6], output
    assert "0 resident and 1 kept would be zapped by agent" in output.parts[7]
    assert "0 resident would be kept by move, 1 are kept already" in output.parts[8]
    assert output.parts[9].count("0xcc") == 2


def test_a_killed_agent_is_named(batch, started):
    output = batch.run(
        [
            "zap --keep guarded + 8192, +4K",
            (
                "python import os, json; os.kill(json.loads(gdb.execute('uffd-status --json',"
                " to_string=True))['agent']['pid'], 9)"
            ),
            "zap --keep --json buf, +4K",
            "uffd-release --json",
            "x/1xb guarded + 8192",
        ],
        pid=started.pid,
    )
    assert output.json(2)["error"]["kind"] == "agent-gone", output
    assert output.json(3)["ok"]
    assert "0x01" in output.parts[4]


def test_options_that_exclude_each_other(batch, started):
    commands = [
        "zap --keep --fill zero buf, +4K",
        "zap --keep --via inject buf, +4K",
        "zap --keep=store buf, +4K",
        "uffd-watch --read buf, +8",
        "uffd-watch --read --write buf, +8",
        "uffd-watch --trace --ignore 3 buf, +8",
        "refault --all buf, +4K",
        "pagemap-check --verify",
        "pagemap-check --trust smaps",
    ]
    output = batch.run(
        [command.replace(" ", " --json ", 1) for command in commands], pid=started.pid
    )
    kinds = [output.json(index)["error"]["kind"] for index in range(len(commands))]
    assert kinds == [
        "conflicting-options", "conflicting-options", "unsupported", "unsupported",
        "conflicting-options", "conflicting-options", "extra-argument", "unsupported",
        "unsupported",
    ]  # fmt: skip
    assert started.present(started.buf, 64) == [True] * 64


def test_advice(batch, started):
    output = batch.run(
        [
            "process-madvise --json cold buf, +64K",
            "process-madvise --json nohugepage buf, +64K",
            "process-madvise --json dontneed buf, +64K",
            "process-madvise --json --force dontneed buf, +8K",
            "process-madvise --json remove buf, +64K",
            "process-madvise --json populate_read buf, +8K",
        ],
        pid=started.pid,
    )
    assert output.json(0)["ranges"][0]["via"] == "remote"
    assert output.json(1)["ranges"][0]["via"] in {"inject", "remote"}
    assert output.json(2)["error"]["kind"] == "destructive"
    assert output.json(3)["ranges"][0]["resident_after"] == 0
    assert output.json(4)["error"]["kind"] == "destructive"
    assert output.json(5)["ranges"][0]["resident_after"] == 2
    assert started.read(started.buf, 2 * PAGE) == bytes(2 * PAGE)
    assert started.read(started.buf + 2 * PAGE, PAGE) == b"\3" * PAGE


def test_refault_names_its_source(batch, started):
    output = batch.run(
        [
            "zap buf, +8K",
            "refault --json buf, +16K",
            "zap file, +4K",
            "refault --json file, +4K",
            "refault --json file, +4K",
        ],
        pid=started.pid,
    )
    (done,) = output.json(1)["ranges"]
    assert (done["refaulted"], done["already_resident"], done["source"]) == (2, 2, "zero")
    (done,) = output.json(3)["ranges"]
    assert (done["refaulted"], done["source"]) == (1, "file")
    (done,) = output.json(4)["ranges"]
    assert (done["refaulted"], done["already_resident"], done["source"]) == (0, 1, "none")
    assert started.read(started.file, PAGE) == b"f" * PAGE


def test_a_person_is_asked_before_content_is_lost(interactive, started):
    gdb = interactive(pid=started.pid)
    gdb.command("set confirm on")
    gdb.send("zap buf, +8K\n")
    assert "2 pages" in gdb.read_until("(y or n) ")
    gdb.send("n\n")
    gdb.read_until(gdb.PROMPT)
    assert started.read(started.buf, PAGE) == b"\1" * PAGE
    gdb.command("set confirm off")
    gdb.command("zap buf, +8K")
    assert started.read(started.buf, 2 * PAGE) == bytes(2 * PAGE)
    gdb.quit()
