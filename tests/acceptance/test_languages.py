"""Whatever language and radix the user has set, gdb understands what is ours."""

from __future__ import annotations

import re

import pytest

from harness import hits, programs
from harness.drivers import json_of

PROGRAM = """
#include <stdlib.h>
#include <string.h>
enum { LENGTH = 1 << 20 };
char *block;
long number[1024] __attribute__((aligned(4096)));
static void ready(void) {}
static void done(void) {}
static void set(long value) { number[0] = value; }
static long sum(void)
{
    long total = 0;
    for (int i = 0; i < LENGTH; i++)
        total += (unsigned char)block[i] * (long)(i + 1);
    return total;
}
int main(void)
{
    block = aligned_alloc(4096, LENGTH);
    for (int i = 0; i < LENGTH; i++)
        block[i] = (char)(i * 7 + i / 4096);
    long before = sum();
    ready();
    set(7);
    done();
    return number[0] == 7 && sum() == before ? 0 : 3;
}
"""
QUEUED = """
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
static volatile int value;
static char block[1 << 14] __attribute__((aligned(4096)));
static void handler(int number, siginfo_t *info, void *context)
{
    value = info->si_code == SI_QUEUE ? info->si_value.sival_int : -1;
}
int main(void)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, 0);
    block[5] = 1;
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42});
    return value == 42 && block[5] == 1 ? 0 : 3;
}
"""
LANGUAGES = ["ada", "modula-2", "pascal", "rust"]
SETTINGS = [
    "set input-radix 16", "set input-radix 8", "set language pascal", "set language ada",
    "set language rust", "set language modula-2",
]  # fmt: skip


@pytest.fixture
def program(tmp_path):
    return programs.compile_c(tmp_path, PROGRAM)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_session_works(batch, program, setting):
    output = batch.run(
        [
            # In variables: not each language takes hexadecimal numbers.
            "break ready", "run", "set var $from = (long)block", "set var $to = $from + (1 << 20)",
            "set var $number = (long)number",
            "delete", setting,
            "zap --keep --json $from, $to",
            "uffd-watch --json $number, +8K",
            "uffd-watch --json $from, +1M",
            "uffd-status --json",
            "continue",
            "python print('CHANGED', gdb.parameter('input-radix'), gdb.parameter('language'))",
            "refault --json $from, +0x40000" if "radix" in setting else "refault --json --all",
            "uffd-release --json",
            "python gdb.execute('tbreak done')", "continue", "continue",
        ],
        program=[program],
    )  # fmt: skip
    kept, watch, other, status = (json_of(output.parts[number]) for number in (7, 8, 9, 10))
    assert kept["ok"], output
    assert kept["ranges"][0]["kept"] == 256, output
    assert watch["watch"]["length"] == 8192
    assert other["watch"]["length"] == 1 << 20
    assert status["kept_pages"] == 256
    (hit,) = hits.shown(output.parts[11])
    assert hit.new == (7).to_bytes(8, "little")
    assert "(number[0])" in hit.extra, output
    radix, language = output.parts[12].split()[1:]
    assert setting.split()[-1] in (radix, language), output
    assert json_of(output.parts[13])["ok"], output
    assert json_of(output.parts[14])["released"] is True
    assert re.search(r"exited normally", output.stdout), output
    assert output.complaints() == [], output


def test_an_array_is_watched_in_pascal(batch, program):
    output = batch.run(
        ["break ready", "run", "set language pascal", "uffd-watch number", "continue", "kill"],
        program=[program],
    )
    (hit,) = hits.shown(output.stdout)
    assert hit.new == (7).to_bytes(8, "little")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_signal_keeps_its_value(batch, tmp_path, language):
    output = batch.run(
        ["break main", "run", "set var $block = (long)block", "handle SIGUSR1 stop", "continue",
         f"set language {language}", "zap --keep $block, +16K", "continue"],
        program=[programs.compile_c(tmp_path, QUEUED)],
    )  # fmt: skip
    assert "received signal SIGUSR1" in output.parts[4]
    assert "exited normally" in output.parts[-1], output


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_condition_may_name_what_is_not_known_yet(batch, program, language):
    output = batch.run(
        ["break ready", "run", "set var $number = (long)number", f"set language {language}",
         "uffd-watch --json --condition unknown_here $number, +8K", "kill"],
        program=[program],
    )  # fmt: skip
    made = output.json(4)
    assert made["ok"], output
    assert made["note"].endswith("the condition is tried at each hit")
