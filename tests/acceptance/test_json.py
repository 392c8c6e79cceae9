"""With --json a command prints one object, and nothing else beside it."""

from __future__ import annotations

import json

from harness import programs

SHARED = """
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
char *block;
long number[1024] __attribute__((aligned(4096)));
int spawn(void)
{
    int child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    return child;
}
static void ready(void) {}
int main(void)
{
    block = aligned_alloc(4096, 1 << 16);
    for (int i = 0; i < 1 << 16; i++)
        block[i] = 1;
    ready();
    return 0;
}
"""


def test_a_note_on_pages_that_stay_is_not_amid_it(batch, tmp_path):
    """A child shares the pages from here on, so that they cannot be taken away again."""
    output = batch.run(
        ["break ready", "run", "zap --keep block, +16K", "print spawn()",
         "uffd-watch --json number", "kill"],
        program=[programs.compile_c(tmp_path, SHARED)],
    )  # fmt: skip
    assert json.loads(output.parts[4])["ok"], output
    assert "4 kept pages could not be taken away again" in output.stderr, output
