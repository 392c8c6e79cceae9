"""An idle program, all of whose memory is away, stays one that can be debugged."""

from __future__ import annotations

import pytest

from harness import observe


def expected():
    """The sum of the program's heap block after its work, as control.h computes it."""
    words = 100000 // 8
    block = b"".join(
        ((i + 1) * 0x9E3779B97F4A7C15 + 1 & (1 << 64) - 1).to_bytes(8, "little")
        for i in range(words)
    )
    total = 0xCBF29CE484222325
    worked = bytes((byte + 1) & 255 for byte in block)
    for i in range(words):
        word = int.from_bytes(worked[8 * i : 8 * i + 8], "little")
        total = (total ^ word) * 0x100000001B3 & (1 << 64) - 1
    return total


def spared(result):
    return [each for each in result["ranges"] if "thread library" in each.get("reason", "")]


def heap(pid):
    """The heap and what is in it: what an idle program does not write to."""
    return {
        region: observe.digest(pid, region.start, region.end - region.start)
        for region in observe.merged(pid)
        if region.path == "[heap]"
    }


@pytest.mark.parametrize("variant", ["pie", "static"])
def test_an_idle_program_goes_on_being_debugged(interactive, inferiors, variant):
    running = inferiors.start("idle.c", "3", variant=variant)
    gdb = interactive(pid=running.pid)
    kept = gdb.command("zap --keep all")
    assert "the debugger's thread library reads it at every stop" in kept
    for _ in range(2):
        gdb.send("continue\n")
        gdb.read_until("Continuing.")
        running.control.runs_on()
        gdb.interrupt()
        stopped = gdb.read_until(gdb.PROMPT)
        assert "generic error" not in stopped, stopped
        assert "main" in gdb.command("thread apply all bt")
        assert gdb.command("info threads").count("Thread 0x") == 4
    gdb.command("thread 1")
    gdb.command("tbreak work")
    running.control.go()
    assert "work ()" in gdb.command("continue")
    for _ in range(3):
        stepped = gdb.command("next")
        assert "generic error" not in stepped, stepped
        assert "is running" not in stepped, stepped
    gdb.command("detach")
    gdb.quit()
    running.control.wait("done")
    assert running.control.long("sum") == expected()
    running.assert_clean()
    assert running.finish() == 0


@pytest.mark.parametrize("variant", ["pie", "static"])
def test_a_program_started_by_gdb_is_stepped(interactive, inferiors, variant):
    control = inferiors.control()
    gdb = interactive(program=[str(inferiors.program("idle.c", variant)), str(control.path), "0"])
    gdb.command("set confirm off")
    gdb.command("break main")
    gdb.command("run")
    assert "thread library" in gdb.command("zap --keep all")
    for _ in range(3):
        stepped = gdb.command("next")
        assert "generic error" not in stepped, stepped
        assert "is running" not in stepped, stepped
    assert "main" in gdb.command("bt")
    gdb.command("kill")
    gdb.quit()


def test_what_stays_is_counted_and_no_failure(batch, inferiors):
    running = inferiors.start("idle.c", "3")
    before = heap(running.pid)
    output = batch.run(
        ["zap --keep --json all", "zap --keep --json map:libc", "refault --all"],
        pid=running.pid,
    )
    result = output.json(0)
    assert result["ok"], output
    left = spared(result)
    assert left
    for each in left:
        assert (each["kept"], each["skipped"]) == (0, each["pages"])
    assert sum(each["kept"] for each in result["ranges"]) > 0
    assert heap(running.pid) == before
    running.assert_clean()


@pytest.mark.parametrize("variant", ["pie", "static"])
def test_what_stays_is_the_same_in_each_language(batch, inferiors, variant):
    running = inferiors.start("idle.c", "2", variant=variant)
    languages = ["auto", "ada", "modula-2", "pascal", "rust"]
    commands = [
        line
        for name in languages
        for line in (f"set language {name}", "zap --keep --dry-run --json all")
    ]
    output = batch.run(commands, pid=running.pid)
    usual, *others = (spared(output.json(2 * number + 1)) for number in range(len(languages)))
    assert usual
    assert others == [usual] * 4


@pytest.mark.parametrize("how", ["--keep", "--keep --force", "--fill zero", "--fill zero --force"])
def test_what_lies_wholly_in_it_is_refused(batch, inferiors, how):
    running = inferiors.start("idle.c", "1")
    before = heap(running.pid)
    output = batch.run([f"zap {how} --json $fs_base, +16"], pid=running.pid)
    if "fill" in how:
        output = batch.run([f"zap {how} --round out --json $fs_base, +16"], pid=running.pid)
    error = output.json(0)["error"]
    assert error["kind"] == "thread-library", error
    assert "thread library" in error["message"]
    assert heap(running.pid) == before
    running.assert_clean()


def test_fill_leaves_it_alone(batch, inferiors):
    running = inferiors.start("idle.c", "1")
    # The page before the control block's and the block itself, whichever pages these are.
    output = batch.run(
        [
            "p/x (long)$fs_base",
            "zap --force --fill 0 --round out --json ($fs_base & ~0xfff) - 8192, +20K",
            "info threads",
            "thread apply all bt",
        ],
        pid=running.pid,
    )
    result = output.json(1)
    if result["ok"]:
        assert spared(result), result
        assert sum(each["skipped"] for each in result["ranges"]) in {1, 2}
    assert "generic error" not in output.stdout + output.stderr
