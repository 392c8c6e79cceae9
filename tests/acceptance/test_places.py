"""Where a write goes: into memory never touched, over a page's end, to several watches at once."""

from __future__ import annotations

import re

import pytest

from harness.programs import compile_c

PROGRAM = r"""
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
char *area;
__attribute__((noinline)) void ready(void) { }
int main(int argc, char **argv)
{
    int ends[2];
    area = mmap(0, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec two[2] = {{area + 0x1000 - 4, 8}, {area + 0x5000, 8}};
    if (argc > 1)
        memset(area, 0, 16 * 4096);
    pipe(ends);
    write(ends[1], "0123456789abcdefghijklmn", 24);
    ready();
    readv(ends[0], two, 2);
    read(ends[0], area + 0x8ffc, 8);
    *(volatile long *)(area + 0xbffc) = 0x1122334455667788;
    return memcmp(area + 0x5000, "89abcdef", 8) || memcmp(area + 0x8ffc, "ghijklmn", 8);
}
"""
WATCHES = ["area+0xffc, +4", "area+0x5000, +8", "area+0x8000, +0x2000", "area+0xb000, +0x2000"]
TOLD = [
    ("1", " in readv(2)", "00 00 00 00", "30 31 32 33"),
    ("2", " in readv(2)", "00 00 00 00 00 00 00 00", "38 39 61 62 63 64 65 66"),
    ("3", " in read(2)", "00 00 00 00", "67 68 69 6a"),
    ("4", "", "00 00 00 00 00 00 00 00", "88 77 66 55 44 33 22 11"),
]


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("places"), PROGRAM)


@pytest.mark.parametrize("populated", [False, True], ids=["never touched", "populated"])
def test_each_watch_is_told_of_with_its_bytes(batch, writer, populated):
    commands = ["break ready", "run", *[f"uffd-watch {each}" for each in WATCHES],
                *["continue"] * 5]  # fmt: skip
    output = batch.run(commands, program=[writer, *["touch"] * populated])
    told = re.findall(
        r"^Uffd watchpoint (\d+): .*\nwrite at 0x\w+ by thread 1( in .*)?\nOld: (.*)\nNew: (.*)$",
        output.parts[-5] + output.parts[-4] + output.parts[-3] + output.parts[-2],
        re.MULTILINE,
    )
    assert [(number, call, old, new) for number, call, old, new in told] == TOLD, output
    assert "exited normally" in output.parts[-1], output
