"""What a trace watch recorded can be read after the program, or the session, has ended."""

from __future__ import annotations

import csv

import pytest

from harness.programs import compile_c

PAGE = 4096
PAGES = 300
RING = 32768
NOTHING = {"command": "uffd-trace", "ok": True, "events": [], "dropped": 0}

PROGRAM = r"""
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
char *area;
void ready(void) { }
void written(void) { }
int main(int argc, char **argv)
{
    long pages = atol(argv[1]);
    area = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ready();
    for (long i = 0; i < pages; i++)
        area[i * 4096] = 1;
    written();
    if (argc > 2 && *argv[2] == 'k')
        kill(getpid(), SIGKILL);
    if (argc > 2 && *argv[2] == 'e')
        execl("/bin/true", "true", (char *)0);
    return 0;
}
"""


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("trace"), PROGRAM)


def begin(pages):
    watch = f"uffd-watch --trace area, +{pages}*4096"
    return ["break ready", "run", "python print('AREA', int(gdb.parse_and_eval('area')))", watch]


def area_of(output):
    return int(output.parts[2].split()[1])


def check(output, trace):
    """Each page is there, in the order of the writes; one may be, again, after its record."""
    addresses = list(dict.fromkeys(event["address"] for event in trace["events"]))
    first = area_of(output)
    assert addresses == list(range(first, first + PAGES * PAGE, PAGE)), output
    assert trace["dropped"] == 0
    assert {event["access"] for event in trace["events"]} == {"write"}


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("", ["continue"]),
        ("kills-itself", ["continue"]),
        ("", ["break written", "continue", "kill"]),
        ("", ["break written", "continue", "detach"]),
        ("", ["break written", "continue", "uffd-release"]),
    ],
    ids=["exits", "is-killed", "kill", "detach", "release"],
)
def test_the_trace_outlives_the_session(batch, writer, tmp_path, how, end):
    file = tmp_path / "trace.csv"
    output = batch.run(
        [
            *begin(PAGES),
            *end,
            "uffd-status --json",
            "uffd-trace show --json",
            "uffd-trace show",
            f"uffd-trace export {file}",
            "uffd-trace clear --json",
            "uffd-trace show --json",
            "uffd-trace clear --json",
        ],
        program=[writer, str(PAGES), how],
    )
    assert output.json(-7)["helper"] is None, output
    trace = output.json(-6)
    check(output, trace)
    assert {event["symbol"].partition("+")[0] for event in trace["events"]} == {"main"}
    assert output.parts[-5].count("write") == len(trace["events"])
    with file.open() as stream:
        assert [int(row["address"]) for row in csv.DictReader(stream)] == [
            event["address"] for event in trace["events"]
        ]
    assert [output.json(-3)["cleared"], output.json(-1)["cleared"]] == [True, False]
    assert output.json(-2) == NOTHING


def test_after_an_exec_no_symbol_of_another_program_is_named(batch, writer):
    output = batch.run(
        [*begin(PAGES), "catch exec", "continue", "uffd-trace show --json", "kill"],
        program=[writer, str(PAGES), "execs"],
    )
    trace = output.json(-2)
    check(output, trace)
    assert {event["symbol"] for event in trace["events"]} == {None}


def test_a_new_session_begins_a_new_trace(batch, writer):
    output = batch.run(
        [*begin(PAGES), "continue", "run", "uffd-trace show --json", "zap --keep area, +4K",
         "uffd-trace show --json", "kill", "uffd-trace show --json"],
        program=[writer, str(PAGES)],
    )  # fmt: skip
    check(output, output.json(-5))
    assert [output.json(-3), output.json(-1)] == [NOTHING, NOTHING]


def test_the_last_of_many_are_kept_and_the_others_counted(batch, writer):
    pages = RING + 5000
    output = batch.run(
        [*begin(pages), "continue", "uffd-trace show --json", "uffd-trace show"],
        program=[writer, str(pages)],
    )
    trace = output.json(-2)
    assert len(trace["events"]) == RING, output.stderr
    assert trace["events"][-1]["address"] == area_of(output) + (pages - 1) * PAGE
    assert trace["dropped"] >= 5000
    assert (
        output.parts[-1].rstrip().endswith(f"{trace['dropped']} events dropped: the ring was full")
    )
