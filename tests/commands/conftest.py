"""A program with memory of many kinds, for the commands to work on."""

from __future__ import annotations

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
