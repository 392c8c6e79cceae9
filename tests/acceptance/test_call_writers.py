"""System calls that write watched memory in several threads at once: each is reported once."""

from __future__ import annotations

import collections
import re

import pytest

from harness.programs import compile_c

THREADS, CALLS = 4, 20
PROGRAM = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
char *area;
static pthread_barrier_t barrier;
static int receives;
__attribute__((noinline)) void begin(void) { }
__attribute__((noinline)) void finished(void) { }
static void *work(void *at)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        abort();
    pthread_barrier_wait(&barrier);
    for (long i = 1; i <= 20; i++) {
        if (write(ends[1], &i, 8) != 8)
            abort();
        if ((receives ? recv(ends[0], at, 8, 0) : read(ends[0], at, 8)) != 8 || *(long *)at != i)
            abort();
    }
    return 0;
}
int main(int argc, char **argv)
{
    pthread_t t[4];
    receives = argc > 1 && !strcmp(argv[1], "recv");
    area = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 0, 4 * 4096);
    begin();
    pthread_barrier_init(&barrier, 0, 4);
    for (int i = 0; i < 4; i++)
        pthread_create(t + i, 0, work, area + i * 4096 + 8);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], 0);
    finished();
    return 0;
}
"""


@pytest.fixture(scope="module")
def callers(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("callers"), PROGRAM)


BEGIN = ["set print thread-events off", "break begin", "break finished", "run"]


@pytest.mark.parametrize("call", ["read", "recv"])
def test_every_one_stops_once(batch, callers, call):
    commands = [*BEGIN, "uffd-watch area, +4*4096", *["continue"] * (THREADS * CALLS + 1)]
    output = batch.run(commands, program=[callers, call])
    name = "recvfrom" if call == "recv" else "read"
    told = re.findall(
        rf"^write at (0x[0-9a-f]+).* by thread (\d+) in {name}\(2\)\nOld: (.*)\nNew: (.*)$",
        output.stdout,
        re.MULTILINE,
    )
    found = collections.Counter(address for address, *_ in told)
    assert sorted(found.values()) == [CALLS] * THREADS, output
    for address in found:
        news = [int(new.replace(" ", "")[:2], 16) for at, _, _, new in told if at == address]
        assert news == list(range(1, CALLS + 1)), output
    assert "finished ()" in output.parts[-1], output


@pytest.mark.parametrize("call", ["read", "recv"])
def test_those_that_are_passed_over_are_counted(batch, callers, call):
    commands = [*BEGIN, "uffd-watch --ignore 1000 area, +4*4096", "continue", "uffd-list --json"]
    output = batch.run(commands, program=[callers, call])
    assert "finished ()" in output.parts[-2], output
    assert output.json()["watches"][0]["hits"] == THREADS * CALLS
