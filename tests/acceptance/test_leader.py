"""A program whose main thread has called pthread_exit(3), while another goes on."""

from __future__ import annotations

import subprocess

import pytest

from harness import hits, programs

PAGES = 64
LENGTH = PAGES * 4096

PROGRAM = f"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned char *memory;
static pthread_t leader;

__attribute__((noinline)) static void left(void)
{{
        __asm__ volatile("");
}}

static void *work(void *argument)
{{
        char word;

        printf("%d %lu\\n", gettid(), (unsigned long)memory);
        fflush(stdout);
        pthread_join(leader, NULL);
        left();
        while (read(0, &word, 1) == 1 && word != 'w')
                ;
        for (unsigned long i = 0; i < {LENGTH}; i++)
                if (memory[i] != (i * 7 + i / 4096) % 251)
                        _exit(1);
        memory[100] = 42;
        puts("written");
        fflush(stdout);
        while (read(0, &word, 1) == 1 && word != 'q')
                ;
        _exit(memory[100] == 42 ? 0 : 2);
        return argument;
}}

int main(void)
{{
        pthread_t thread;
        char word;

        memory = mmap(NULL, {LENGTH}, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (unsigned long i = 0; i < {LENGTH}; i++)
                memory[i] = (i * 7 + i / 4096) % 251;
        leader = pthread_self();
        pthread_create(&thread, NULL, work, NULL);
        while (read(0, &word, 1) == 1 && word != 'l')
                ;
        pthread_exit(NULL);
}}
"""


@pytest.fixture
def running(inferiors, tmp_path):
    """The program, whose leader leaves at a word."""
    process = subprocess.Popen(
        [programs.compile_c(tmp_path, PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    started = inferiors.track(process, None)
    started.tid, started.base = map(int, started.line().split())
    return started


def _leave(running):
    """Have the leader end, and stop when it has.

    gdb attaches to no process without one, and gdb 13 fails where it is to detach from one.
    """
    return [
        "break left",
        f"shell printf l > /proc/{running.pid}/fd/0",
        "continue",
        "delete",
        f"shell grep State /proc/{running.pid}/status",
    ]


def test_keep_look_and_release(batch, running):
    memory = f"{running.base:#x}, +{LENGTH}"
    output = batch.run(
        [
            *_leave(running),
            f"zap --keep --json {memory}",
            f"pagemap-show --json {memory}",
            f"x/1bu {running.base + 4096:#x}",
            "pagemap-check --json",
            "uffd-status --json",
            "uffd-doctor --json",
            "uffd-release --json",
            f"shell cat /proc/{running.tid}/maps; ls -l /proc/{running.tid}/fd",
            f"shell printf wq > /proc/{running.tid}/fd/0",
            "continue",
        ],
        pid=running.pid,
    )
    assert "zombie" in output.parts[4], output
    assert output.json(5)["ranges"][0]["kept"] == PAGES, output
    assert output.json(6)["ok"], output
    assert output.parts[7].split()[-1] == str((4096 * 7 + 1) % 251), output
    assert output.json(8)["ok"], output
    assert output.json(9)["kept_pages"] == PAGES, output
    assert output.json(11)["ok"], output
    assert "pagezap" not in output.parts[12], output
    assert "userfaultfd" not in output.parts[12], output
    assert running.line() == "written"
    assert running.process.wait(10) == 0, output


def test_keep_and_watch(batch, running):
    output = batch.run(
        [
            *_leave(running),
            f"zap --keep --json {running.base:#x}, +{LENGTH}",
            f"uffd-watch --json {running.base + 100:#x}, +8",
            f"shell printf w > /proc/{running.tid}/fd/0",
            "continue",
            "uffd-delete",
            f"shell printf q > /proc/{running.tid}/fd/0",
            "continue",
        ],
        pid=running.pid,
    )
    assert output.json(5)["ranges"][0]["kept"] == PAGES, output
    assert [hit.address for hit in hits.shown(output.parts[8])] == [running.base + 100], output
    assert running.process.wait(10) == 0, output


@pytest.mark.parametrize("via", ["auto", "inject"])
def test_drop(batch, running, via):
    output = batch.run(
        [
            *_leave(running),
            f"zap --via {via} --json {running.base:#x}, +{LENGTH}",
            f"x/1bu {running.base + 4096:#x}",
            "kill",
        ],
        pid=running.pid,
    )
    assert output.json(5)["ok"], output
    assert output.parts[6].split()[-1] == "0", output


def test_what_needs_the_leader_is_refused(batch, running):
    output = batch.run(
        [
            *_leave(running),
            f"zap --via remote --json {running.base:#x}, +{LENGTH}",
            f"x/1bu {running.base + 4096:#x}",
            "kill",
        ],
        pid=running.pid,
    )
    assert not output.json(5)["ok"], output
    assert output.json(5)["error"]["kind"] != "gone", output
    assert output.parts[6].split()[-1] == str((4096 * 7 + 1) % 251), output
