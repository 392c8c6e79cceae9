"""What the program does in the wrong moment, and what one page must not do to the others."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from selfhost import PAGE, Tracer, ended, process_state, session, wait_for

from pagezap.native import helper_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from selfhost import Inferior

MCL_CURRENT = 1


def _sums(inferior: Inferior, pages: Iterable[int]) -> dict[int, str]:
    """The checksum of each of the pages, by number."""
    return {page: inferior.ask("sum", page * PAGE, PAGE) for page in pages}


@pytest.mark.parametrize("no_move", [False, True], ids=["move", "copy"])
def test_what_the_program_drops_takes_nothing_else_along(program: Path, no_move: bool) -> None:
    with session(program, 64 * PAGE, no_move=no_move) as (inferior, client):
        inferior.ask("fill", 1)
        before = _sums(inferior, range(1, 64))
        inferior.say("drops", 1500)
        answered: list[str] = []
        waiting = threading.Thread(target=lambda: answered.append(inferior.answer()))
        waiting.start()
        while waiting.is_alive():
            client.keep(inferior.buffer, inferior.length)
            client.refault()
        waiting.join()
        assert int(answered[0]) > 100
        client.refault()
        assert _sums(inferior, range(1, 64)) == before


def test_more_holes_than_the_table_of_ranges_holds(program: Path) -> None:
    holes = 17000
    with session(program, 2 * holes * PAGE) as (inferior, client):
        inferior.ask("fill", 1)
        left = (1, 777, holes + 1, 2 * holes - 1)
        before = _sums(inferior, left)
        kept = client.keep(inferior.buffer, inferior.length)
        assert kept.kept == 2 * holes
        inferior.ask("holes", holes)
        client.refault()
        assert client.status().kept_stash == 0
        client.release()
        assert inferior.present() == holes
        assert _sums(inferior, left) == before


def test_the_stash_of_what_is_unmapped_goes(program: Path) -> None:
    with session(program, 600 * PAGE) as (inferior, client):
        before = {line.split()[0] for line in inferior.maps()}
        inferior.ask("fill", 1)
        for page in range(600):
            assert client.keep(inferior.buffer + page * PAGE, PAGE).kept == 1
        inferior.ask("munmap", 0, inferior.length)
        client.release()
        assert {line.split()[0] for line in inferior.maps()} <= before


def test_stale_copies_that_the_program_has_locked(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        client.keep(inferior.buffer, inferior.length)
        before = inferior.sum()
        inferior.ask("mlockall", MCL_CURRENT)
        kept = client.keep(inferior.buffer, 16 * PAGE)
        assert (kept.kept, kept.skipped) == (16, 0)
        assert inferior.sum() == before


# In the helper's process: no memory for two whiles, each of them short enough to wait for.
SHORT_OF_MEMORY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <sys/ioctl.h>

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int fd, unsigned long request, ...);
	static int copies;
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "ioctl");
	if (request == UFFDIO_COPY && copies++ < 1400 && copies != 700) {
		errno = ENOMEM;
		return -1;
	}
	return real(fd, request, argument);
}
"""


def test_a_child_waits_for_memory_each_time_anew(program: Path, tmp_path: Path) -> None:
    source, library, helper = (tmp_path / name for name in ("short.c", "short.so", "helper"))
    source.write_text(SHORT_OF_MEMORY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    helper.write_text(f'#!/bin/sh\nLD_PRELOAD={library} exec {helper_path()} "$@"\n')
    helper.chmod(0o755)
    with session(program, helper=helper) as (inferior, client):
        inferior.ask("fill", 1)
        before = inferior.sum()
        client.keep(inferior.buffer, inferior.length)
        inferior.say("fork", 0, inferior.length)
        inferior.say("name", "done")
        # A child that finds a page poisoned says nothing.
        assert inferior.answer() == before
        assert inferior.answer() == "0"


def test_a_process_that_somebody_else_stopped_stays_stopped(program: Path) -> None:
    with session(program) as (inferior, client):
        inferior.ask("fill", 1)
        tracer = Tracer(inferior.pid)
        client.watch_add(1, inferior.buffer, 8)
        inferior.say("write", 0, 9)
        assert tracer.wait() == signal.SIGSTOP
        assert client.hit_take(inferior.pid, step=True) is not None
        tracer.step()
        client.hit_done(None, show=False)
        tracer.resume()
        inferior.answer()
        client.watch_delete(1)
        helper = client.hello.helper_pid
        tracer.stop_and_detach()
        os.kill(inferior.pid, signal.SIGSTOP)
        wait_for(lambda: process_state(inferior.pid) == "T")
        client.close()
        wait_for(lambda: ended(helper))
        assert process_state(inferior.pid) == "T"
        os.kill(inferior.pid, signal.SIGCONT)
