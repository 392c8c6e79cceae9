"""The grammar of ranges, over a debugger that knows a few expressions."""

from __future__ import annotations

import os
import re
from typing import ClassVar

import pytest

from pagezap.debugger import maps, procfs, ranges
from pagezap.debugger.api import Value
from pagezap.debugger.errors import NoInferiorError, PagezapError, RangeError, UsageError

TEXT = """\
555555554000-555555556000 r-xp 00000000 08:01 77 /usr/bin/program
555555556000-555555557000 rw-p 00002000 08:01 77 /usr/bin/program
555555600000-555555700000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000010000 rw-p 00000000 00:00 0
7f0000010000-7f0000020000 rw-p 00000000 00:00 0 [anon:arena one]
7f0000100000-7f0000200000 rw-s 00000000 00:01 5 /memfd:shared (deleted)
7ffc00000000-7ffc00100000 rw-p 00000000 00:00 0 [stack]
7ffc00200000-7ffc00202000 r-xp 00000000 00:00 0 [vdso]
"""
MAPPINGS = [maps._parse_line(line) for line in TEXT.splitlines()]
BUF = 0x7F0000000000


class Fake:
    """Evaluates what the tests use as gdb would."""

    known: ClassVar = {
        "buf": Value(0x555555556010, 8, "char *", BUF, is_pointer=True),
        "array": Value(BUF + 8, 100, "char [100]", None),
        "*node": Value(BUF + 64, 24, "struct node", None),
        "*buf@64": Value(BUF, 64, "char [64]", None),
        "n": Value(0x555555556018, 4, "int", 3),
        "f(1, 2)": Value(None, 8, "long", BUF),
        "map<int, int>::at": Value(BUF, 16, "struct m", None),
        "s[',']": Value(BUF, 1, "struct c", None),
        "void_object": Value(BUF, 0, "struct e", None),
        "x": Value(None, 8, "double", None),
        "n*2": Value(None, 4, "int", 6),
        "(n)": Value(None, 4, "int", 3),
        "-1": Value(None, 4, "int", -1),
    }

    def evaluate(self, expression):
        if expression in self.known:
            return self.known[expression]
        if re.fullmatch(r"0x[0-9a-f]+|\d+", expression):
            return Value(None, 8, "long", int(expression, 0))
        raise UsageError(f'No symbol "{expression}" in current context', kind="expression")


def parse(text, **more):
    found = ranges.parse(text, Fake(), MAPPINGS, "zap", **more)
    return [(each.start, each.length) for each in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("buf, +4096", [(BUF, 4096)]),
        ("buf, +64K", [(BUF, 65536)]),
        ("buf,+64k", [(BUF, 65536)]),
        ("buf, +0x10K", [(BUF, 16384)]),
        ("buf, +n*2", [(BUF, 6)]),
        ("buf, +(n)K", [(BUF, 3072)]),
        (f"{BUF:#x}, {BUF + 4096:#x}", [(BUF, 4096)]),
        ("array", [(BUF + 8, 100)]),
        ("array, +8", [(BUF + 8, 8)]),
        ("*node", [(BUF + 64, 24)]),
        ("*buf@64", [(BUF, 64)]),
        ("f(1, 2), +8", [(BUF, 8)]),
        ("map<int, int>::at", [(BUF, 16)]),
        ("map<int, int>::at -- array", [(BUF, 16), (BUF + 8, 100)]),
        ("s[',']", [(BUF, 1)]),
        ("[heap]", [(0x555555600000, 0x100000)]),
        ("[anon:arena one]", [(BUF + 0x10000, 0x10000)]),
        ("map:program", [(0x555555554000, 0x2000), (0x555555556000, 0x1000)]),
        ("buf, +4096 -- [heap]", [(BUF, 4096), (0x555555600000, 0x100000)]),
        ("all", [(0x555555600000, 0x100000), (BUF, 0x10000), (BUF + 0x10000, 0x10000)]),
        # Two mappings without a hole between them.
        (f"{BUF + 0xF000:#x}, +8K", [(BUF + 0xF000, 8192)]),
    ],
)
def test_forms(text, expected):
    assert parse(text) == expected


def test_a_template_has_commas_of_its_own():
    assert ranges.split_pair("map<int, int>::at, +8") == ("map<int, int>::at", "+8")
    assert ranges.split_pair("map<int, int>::at") is None
    assert ranges.split_pair("a->b, c->d") == ("a->b", "c->d")
    assert ranges.split_pair("x<y, +8") == ("x<y", "+8")


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        ("buf", "pointer-without-length", "zap buf, +4096 or zap *buf@64"),
        ("buf, +0", "empty-range", "zap buf, +4096"),
        ("buf, +-1", "empty-range", "zap buf, +4096"),
        ("buf, buf", "empty-range", "zap buf, +4096"),
        ("void_object", "empty-range", "zap void_object"),
        (f"buf, {BUF - 8:#x}", "wrapped-range", "zap buf, +"),
        (f"{2**64 - 4096:#x}, +8K", "wrapped-range", ""),
        ("0x1000, +4096", "unmapped", ""),
        (f"{BUF:#x}, +1M", "unmapped", f"zap {BUF:#x}, {BUF + 0x20000:#x}"),
        ("[vdso]", "special-mapping", ""),
        ("0x7ffc00200000, +4096", "special-mapping", ""),
        ("map:vdso", "special-mapping", ""),
        ("map:nowhere", "no-mapping", ""),
        ("[anon:none]", "no-mapping", ""),
        ("n*2", "no-address", "zap n*2, +4096"),
        ("x", "no-address", ""),
        ("*node, +8", "no-address", "&(*node)"),
        ("buf, +", "bad-range", "zap buf, +4096"),
        ("", "missing-range", ""),
        ("nothing", "expression", ""),
    ],
)
def test_refusals(text, kind, hint):
    with pytest.raises(PagezapError) as caught:
        parse(text)
    assert caught.value.kind == kind
    assert hint in caught.value.hint
    assert "\n" not in caught.value.line()


def test_large_suffix_is_not_an_int():
    with pytest.raises(RangeError) as caught:
        parse("buf, +4G")
    assert caught.value.kind == "unmapped"


def test_all_of_nothing_says_what_all_is():
    with pytest.raises(RangeError) as caught:
        ranges.parse("all", Fake(), MAPPINGS[:2], "zap")
    assert caught.value.message == "The program has no private anonymous memory but stacks"


def test_our_own_mappings_are_left_out():
    assert parse("all", exclude=[(BUF + 0x10000, 4096)]) == [
        (0x555555600000, 0x100000), (BUF, 0x10000),
    ]  # fmt: skip


def test_rounding():
    assert ranges.round_out(4100, 10) == (4096, 4096)
    assert ranges.round_out(4095, 2) == (0, 8192)
    assert ranges.round_in(4095, 8200, "x") == (4096, 8192 - 4096 + 4096)
    with pytest.raises(RangeError) as caught:
        ranges.round_in(4097, 4096, "x")
    assert "--round out" in caught.value.hint
    assert caught.value.kind == "no-whole-page"


def test_kinds_of_mappings():
    kinds = [mapping.kind for mapping in MAPPINGS]
    assert kinds == [
        "file", "file", "anonymous", "anonymous", "anonymous", "memfd", "anonymous", "special",
    ]  # fmt: skip
    assert [m.is_anonymous for m in MAPPINGS].count(True) == 4


def test_procfs_of_ourselves():
    pid = os.getpid()
    found = procfs.mappings(pid, flags=True)
    assert any(mapping.path == "[heap]" and "rd" in mapping.flags for mapping in found)
    assert procfs.process_bits(pid) == 64
    assert procfs.machine(pid) == os.uname().machine
    assert procfs.uid(pid) == os.geteuid()
    assert pid in procfs.tasks(pid)
    assert procfs.threads(pid) == len(procfs.tasks(pid))
    assert procfs.tracer_pid(pid) == 0
    assert procfs.namespace_pids(pid)[0] == pid
    assert procfs.open_files_limit(pid)[0] > 8
    assert procfs.alive(pid)
    assert procfs.same_memory(pid, pid)
    assert procfs.start_time(pid) > 0
    with pytest.raises(NoInferiorError) as caught:
        procfs.status(2**22 + 1)
    assert caught.value.kind == "gone"
    assert not procfs.alive(2**22 + 1)


def test_a_mapping_joined_with_the_heap_is_told_apart():
    text = """\
404000-405000 rw-p 00004000 08:01 77 /usr/bin/program
405000-450000 rw-p 00000000 00:00 0 [heap]
"""
    found = maps.clamp_heap([maps._parse_line(line) for line in text.splitlines()], 0x410000)
    assert [(each.start, each.end, each.path) for each in found] == [
        (0x404000, 0x405000, "/usr/bin/program"),
        (0x405000, 0x410000, ""),
        (0x410000, 0x450000, "[heap]"),
    ]
    assert maps.clamp_heap(found, 0x410000) == found
    (alone,) = maps.clamp_heap([found[2]], 0x450000)
    assert alone.path == ""
    pid = os.getpid()
    heap = [each for each in procfs.mappings(pid) if each.path == "[heap]"]
    assert heap[0].start == maps.heap_start(pid)
