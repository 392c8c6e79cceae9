"""What `zap` does to each kind of memory, and what it leaves alone."""

from __future__ import annotations

import threading

import pytest

from harness import observe

PAGE = 4096


def test_anonymous_memory_reads_zero(batch, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    base = running.control.base
    output = batch.run([f"zap --json {base + 4 * PAGE:#x}, +16K"], pid=running.pid)
    result = output.json(0)
    assert result["ok"], output
    (done,) = result["ranges"]
    assert (done["start"], done["length"], done["pages"]) == (base + 4 * PAGE, 16384, 4)
    assert (done["resident_before"], done["resident_after"], done["zapped"]) == (4, 0, 4)
    present = observe.present(running.pid, base, 65536)
    assert present == [True] * 4 + [False] * 4 + [True] * 8
    assert observe.read(running.pid, base + 4 * PAGE, 16384) == bytes(16384)
    assert observe.read(running.pid, base, 8) == (0x9E3779B97F4A7C15 + 1).to_bytes(8, "little")
    running.control.runs_on()
    running.assert_clean()


def test_a_partial_page_is_not_touched(batch, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    base = running.control.base
    before = observe.read(running.pid, base, 65536)
    output = batch.run([f"zap --json {base + 100:#x}, +{3 * PAGE}"], pid=running.pid)
    assert output.json(0)["ok"], output
    after = observe.read(running.pid, base, 65536)
    assert after[:PAGE] == before[:PAGE]
    assert after[PAGE : 3 * PAGE] == bytes(2 * PAGE)
    assert after[3 * PAGE :] == before[3 * PAGE :]
    running.assert_clean()


def test_no_whole_page_is_an_error_that_names_the_way(batch, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    base = running.control.base
    before = observe.digest(running.pid, base, 65536)
    output = batch.run([f"zap {base + 100:#x}, +2000", "print 1"], pid=running.pid)
    assert "--round out" in output.stderr
    assert observe.digest(running.pid, base, 65536) == before
    output = batch.run([f"zap --round out --json {base + 100:#x}, +2000"], pid=running.pid)
    assert output.json(0)["ranges"][0]["zapped"] == 1
    assert observe.read(running.pid, base, PAGE) == bytes(PAGE)
    running.assert_clean()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(b"".join(f"{number:15}\n".encode() for number in range(4096)))
    return path


def test_a_private_file_mapping_goes_back_to_the_file_and_says_so(batch, inferiors, file):
    running = inferiors.start("shm.c", "private-file", str(file))
    base = running.control.base
    output = batch.run([f"zap --json {base:#x}, +64K"], pid=running.pid)
    result = output.json(0)
    if not result["ok"]:
        # Losing what was written may need to be asked for.
        output = batch.run([f"zap --force --json {base:#x}, +64K"], pid=running.pid)
        result = output.json(0)
    assert result["ok"], output
    assert any("file" in hazard["kind"] for hazard in result["hazards"]), result
    assert observe.read(running.pid, base, 65536) == file.read_bytes()
    running.assert_clean()


@pytest.mark.parametrize("kind", ["memfd", "shared"])
def test_shared_memory_is_punched_or_refused(batch, inferiors, file, kind):
    running = inferiors.start("shm.c", kind, str(file))
    base = running.control.base
    before = observe.read(running.pid, base, 65536)
    output = batch.run([f"zap --json {base:#x}, +64K"], pid=running.pid)
    result = output.json(0)
    if result["ok"]:
        assert result["ranges"][0]["via"] == "punch"
        assert observe.read(running.pid, base, 65536) == bytes(65536)
    else:
        assert result["error"]["message"]
        assert observe.read(running.pid, base, 65536) == before
        output = batch.run([f"zap --force --json {base:#x}, +64K"], pid=running.pid)
        result = output.json(0)
        assert result["ok"], output
        assert result["ranges"][0]["via"] == "punch"
        assert observe.read(running.pid, base, 65536) == bytes(65536)
    running.assert_clean()


def test_a_shared_file_is_never_changed(batch, inferiors, file):
    running = inferiors.start("shm.c", "shared-file", str(file))
    content = file.read_bytes()
    output = batch.run([f"zap --json {running.control.base:#x}, +64K"], pid=running.pid)
    result = output.json(0)
    assert not result["ok"], result
    assert result["error"]["message"]
    assert file.read_bytes() == content
    running.assert_clean()


def test_a_dry_run_changes_nothing(batch, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    before = running.control.checksum()
    output = batch.run(
        [
            f"zap --dry-run --json {running.control.base:#x}, +64K",
            f"zap --keep --dry-run --json {running.control.base:#x}, +64K",
        ],
        pid=running.pid,
    )
    assert output.json(0)["ok"]
    assert output.json(1)["ok"]
    assert all(observe.present(running.pid, running.control.base, 65536))
    assert running.control.checksum() == before
    running.assert_clean()


@pytest.mark.parametrize("move", [True, False], ids=["move", "no-move"])
def test_keep_and_refault_bring_the_content_back(batch, inferiors, move):
    running = inferiors.start("keepmem.c", str(1 << 24))
    base = running.control.base
    before = running.control.checksum()
    output = batch.run(
        [
            f"zap --keep --json {base:#x}, +16M",
            f"pagemap-check --json {base:#x}, +16M",
            f"x/1gx {base:#x}",
            f"refault --json {base:#x}, +8M",
            "refault --json --all",
            f"pagemap-check --json {base:#x}, +16M",
        ],
        pid=running.pid,
        env={} if move else {"PAGEZAP_NO_MOVE": "1"},
    )
    kept = output.json(0)
    assert kept["ok"], output
    (done,) = kept["ranges"]
    assert (done["kept"], done["zapped"], done["skipped"]) == (4096, 0, 0)
    assert done["via"] == ("move" if move else "copy")
    assert done["resident_after"] == 0
    check = output.json(1)
    assert check["pages"]["kept"] == 4096
    assert check["consistent"], check
    assert "0x9e3779b97f4a7c16" in output.parts[2]
    (half,) = output.json(3)["ranges"]
    assert half["refaulted"] == 2048, half
    assert sum(each["refaulted"] for each in output.json(4)["ranges"]) == 2048
    assert output.json(5)["pages"]["resident"] == 4096
    assert running.control.checksum() == before
    running.assert_clean()


def test_a_running_inferior_gets_kept_pages_back_by_touching_them(interactive, inferiors):
    running = inferiors.start("keepmem.c", str(1 << 22))
    before = running.control.checksum()
    gdb = interactive(pid=running.pid)
    gdb.command(f"zap --keep {running.control.base:#x}, +4M")
    gdb.send("continue\n")
    assert running.control.checksum() == before
    assert all(observe.present(running.pid, running.control.base, 1 << 22))
    gdb.interrupt()
    gdb.read_until(gdb.PROMPT)
    gdb.quit()
    running.assert_clean()


def test_all_but_stacks(batch, inferiors):
    running = inferiors.start("keepmem.c", str(1 << 22))
    before = running.control.checksum()
    output = batch.run(["zap --keep --json all", "uffd-status --json"], pid=running.pid)
    result = output.json(0)
    assert result["ok"], output
    mappings = {each["mapping"] for each in result["ranges"]}
    assert "[heap]" in mappings
    assert "[stack]" not in mappings
    assert output.json(1)["kept_pages"] >= 1024 + 2000
    assert running.control.checksum() == before
    running.assert_clean()
    assert running.finish() == 0


@pytest.mark.parametrize("fill", ["zero", "0x5a", "file"])
def test_fill_is_what_the_next_access_finds(batch, inferiors, file, fill):
    running = inferiors.start("keepmem.c", "65536")
    base = running.control.base
    word = str(file) if fill == "file" else fill
    output = batch.run(
        [f"zap --fill {word} --json {base:#x}, +64K", f"x/2xb {base:#x}"], pid=running.pid
    )
    assert output.json(0)["ok"], output
    expected = {"zero": bytes(65536), "0x5a": b"\x5a" * 65536, "file": file.read_bytes()}[fill]
    running.control.checksum()
    assert observe.read(running.pid, base, 65536) == expected
    running.assert_clean()


def test_fork_has_the_content_in_both(batch, inferiors):
    running = inferiors.start("forker.c", str(1 << 22))
    control = running.control
    threading.Timer(1.5, control.go).start()
    result = batch.run(
        ["zap --keep --json memory, +4M", "break finished", "continue"], pid=running.pid
    )
    assert result.json(0)["ok"], result
    control.wait("done")
    expected = control.long("spare")
    assert control.result(0) % (1 << 64) == expected
    assert control.result(1) % (1 << 64) == expected
    assert control.result(2) == 0
    running.assert_clean()
