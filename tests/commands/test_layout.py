"""Where heap and stacks begin and end."""

from __future__ import annotations

import subprocess

from harness.programs import compile_c

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
