"""What the commands do to real memory: bytes and pages, seen from outside."""

from __future__ import annotations

import csv
import json
import subprocess

import pytest

from harness import observe
from harness.programs import compile_c

PAGE = 4096

PROGRAM = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

struct node { long key; struct node *next; };
struct node *nodes;
char *buf, *locked, *shared, *file, *guarded;
void *code;

static char *map(size_t length, int flags, int fd)
{
    return mmap(NULL, length, PROT_READ | PROT_WRITE, flags, fd, 0);
}

int main(int argc, char **argv)
{
    int fd = fileno(fopen(argv[1], "r"));

    buf = map(64 * 4096, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (int i = 0; i < 64; i++)
        memset(buf + i * 4096, i + 1, 4096);
    nodes = (struct node *)buf;
    locked = map(4 * 4096, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    memset(locked, 1, 4 * 4096);
    mlock(locked, 4 * 4096);
    shared = map(4 * 4096, MAP_SHARED | MAP_ANONYMOUS, -1);
    memset(shared, 1, 4 * 4096);
    file = map(4096, MAP_PRIVATE, fd);
    file[0] = '!';
    guarded = map(4 * 4096, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    memset(guarded, 1, 4 * 4096);
    madvise(guarded + 4096, 4096, MADV_GUARD_INSTALL);
    code = (void *)main;
    if (fork() == 0) {
        pause();
        return 0;
    }
    printf("ready %p %p %p %p %p\n", buf, locked, shared, file, guarded);
    fflush(stdout);
    pause();
    return 0;
}
"""


class Started:
    def __init__(self, process):
        self.process = process
        self.pid = process.pid
        words = process.stdout.readline().split()
        assert words[0] == "ready"
        self.buf, self.locked, self.shared, self.file, self.guarded = (
            int(word, 16) for word in words[1:]
        )

    def present(self, start, pages):
        return observe.present(self.pid, start, pages * PAGE)

    def read(self, start, length):
        return observe.read(self.pid, start, length)


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    directory = tmp_path_factory.mktemp("memory")
    (directory / "content").write_bytes(b"f" * PAGE)
    compile_c(directory, PROGRAM, name="m")
    return directory


@pytest.fixture
def started(binary):
    process = subprocess.Popen(
        [binary / "m", binary / "content"], stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    child = Started(process)
    with open(f"/proc/{child.pid}/task/{child.pid}/children") as file:
        children = file.read().split()
    yield child
    for pid in [*map(int, children), child.pid]:
        subprocess.run(["kill", "-9", str(pid)], check=False)
    process.wait(10)
    process.stdout.close()


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


def test_doctor_looks_at_machine_and_inferior(batch, started):
    output = batch.run(["uffd-doctor --json", "uffd-doctor"], pid=started.pid)
    checks = {check["name"]: check for check in output.json(0)["checks"]}
    for name in ("helper", "userfaultfd", "wp", "process-bits", "process-seccomp"):
        assert checks[name]["available"] in {True, False}
        assert set(checks[name]) == {"name", "available", "detail", "fix"}
    assert checks["helper"]["available"]
    assert checks["process-bits"]["available"]
    assert all(name in output.parts[1] for name in checks)


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


def test_completion(batch, started):
    output = batch.run(
        [
            "uffd-watch buf, +8",
            "complete zap --k",
            "complete zap --round o",
            "complete process-madvise po",
            "complete uffd-delete ",
            "complete zap [he",
            "complete zap nod",
            "complete uffd-trace ex",
            "complete zap [",
        ],
        pid=started.pid,
    )
    lines = [part.split("\n") for part in output.parts]
    assert "zap --keep" in lines[1]
    assert "zap --round out" in lines[2]
    assert {"process-madvise populate_read", "process-madvise populate_write"} <= set(lines[3])
    assert "uffd-delete 1" in lines[4]
    assert "zap [heap]" in lines[5]
    assert "zap nodes" in lines[6]
    assert "uffd-trace export" in lines[7]
    assert [line for line in lines[8] if line] == ["zap [anon:", "zap [heap]", "zap [stack]"]


BSS_PROGRAM = r"""
#include <stdlib.h>
#include <string.h>

char bss[16 * 4096];
char *heap;

__attribute__((noinline)) void ready(void)
{
    __asm__ volatile("" ::: "memory");
}

int main(void)
{
    memset(bss, 7, sizeof(bss));
    heap = malloc(100000);
    memset(heap, 9, 100000);
    ready();
    return bss[5] + heap[5] == 16 ? 0 : 1;
}
"""


def test_the_heap_ends_where_bss_does(batch, tmp_path):
    # gdb starts it without ASLR: .bss ends where the heap begins, and both are registered.
    compile_c(tmp_path, BSS_PROGRAM, name="b")
    output = batch.run(
        [
            "break ready",
            "run",
            "zap --keep --json all",
            "refault --all",
            "zap --json --dry-run [heap]",
            "p/x (long)(bss + sizeof bss)",
            "zap --force [heap]",
            "p bss[sizeof bss - 1]",
            "p bss[5]",
            "p heap[50000]",
        ],
        program=[str(tmp_path / "b")],
    )
    assert output.json(2)["ok"], output
    (heap,) = output.json(4)["ranges"]
    assert heap["mapping"] == "[heap]"
    assert heap["start"] >= int(output.parts[5].split("=")[1], 16)
    assert ["7" in output.parts[7], "7" in output.parts[8]] == [True, True], output
    assert "= 0" in output.parts[9]


STACK_PROGRAM = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

char *below, *stack, *above;

static void *wait(void *unused)
{
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
    return unused;
}

int main(void)
{
    pthread_t thread;
    pthread_attr_t how;

    /* One mapping, of which the thread's stack is the middle. */
    below = mmap(NULL, 3 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack = below + (1 << 20);
    above = below + (2 << 20);
    memset(below, 5, 4096 * 4);
    memset(above, 6, 1 << 20);
    pthread_attr_init(&how);
    pthread_attr_setstack(&how, stack, 1 << 20);
    pthread_create(&thread, &how, wait, NULL);
    pthread_join(thread, NULL);
    return 0;
}
"""


def test_what_is_mapped_beside_a_stack_is_no_stack(batch, tmp_path):
    compile_c(tmp_path, STACK_PROGRAM, name="s")
    with subprocess.Popen([tmp_path / "s"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            output = batch.run(
                [
                    "print/x (long) below",
                    "print/x (long) above",
                    "zap --json --dry-run stack, above",
                    "thread 2",
                    "zap --json --round out $sp, +1",
                    "zap --json --round out $fs_base, +1",
                    "zap --json below, +16K",
                    "zap --json above, +64K",
                    "zap --keep --json all",
                    "info threads",
                ],
                pid=process.pid,
            )
        finally:
            process.kill()
    below, above = (int(output.parts[index].split("=")[1], 16) for index in (0, 1))
    for index in (2, 4, 5):
        assert output.json(index)["error"]["kind"] == "stack", output
    for index, pages in ((6, 4), (7, 16)):
        assert output.json(index)["ranges"][0]["zapped"] == pages, output
    kept = [each for each in output.json(8)["ranges"] if each["kept"]]
    assert any(each["start"] == above for each in kept), output
    assert not any(
        each["start"] < above and below < each["start"] + each["length"] for each in kept
    )
    assert output.parts[9].count("Thread 0x") == 2
