"""Fixtures for every test."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from harness import drivers, gdbs, observe
from harness.inferior import Inferiors

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

    from harness.gdbs import Gdb


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for `gdb` in each one that is there."""
    # Tests of one layer may have a fixture of that name of their own.
    definitions = metafunc._arg2fixturedefs.get("gdb", ())
    if definitions and definitions[-1].func.__module__ == gdb.__module__:
        found = gdbs.found()
        metafunc.parametrize("gdb", found, ids=[each.name for each in found], indirect=True)


@pytest.fixture
def gdb(request: pytest.FixtureRequest) -> Gdb:
    """A debugger to test in."""
    return request.param


@pytest.fixture
def inferiors(tmp_path: pathlib.Path) -> Iterator[Inferiors]:
    """Starts inferiors; at the end none is left, and nothing of ours serves one."""
    made = Inferiors(tmp_path)
    yield made
    programs = {running.program for running in made.running if running.program}
    made.close()
    deadline = time.monotonic() + 8

    def left() -> list[int]:
        helpers = [pid for inferior in made.pids for pid in observe.helpers_of(inferior)]
        agents = [pid for program in programs for pid in observe.agents_of(program)]
        return [pid for pid in helpers + agents + made.pids if observe.alive(pid)]

    while left() and time.monotonic() < deadline:
        time.sleep(0.05)
    found = left()
    described = []
    for pid in found:
        with contextlib.suppress(OSError):
            described.append(f"{pid} ({observe.status(pid)['Name']})")
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not found, f"left behind: {', '.join(described)}"


@pytest.fixture
def batch(gdb: Gdb, tmp_path: pathlib.Path) -> drivers.Batch:
    """Runs `gdb -batch`."""
    return drivers.Batch(gdb, tmp_path)


@pytest.fixture
def interactive(gdb: Gdb, tmp_path: pathlib.Path) -> Iterator[Callable[..., drivers.Interactive]]:
    """Starts a gdb at a terminal."""
    with contextlib.ExitStack() as stack:

        def start(**how: object) -> drivers.Interactive:
            driver = drivers.Interactive(gdb, tmp_path, **how)
            stack.callback(driver.close)
            return driver

        yield start


@pytest.fixture
def mi(gdb: Gdb, tmp_path: pathlib.Path) -> Iterator[Callable[..., drivers.Mi]]:
    """Starts a gdb behind its machine interface."""
    with contextlib.ExitStack() as stack:

        def start(**how: object) -> drivers.Mi:
            driver = drivers.Mi(gdb, tmp_path, **how)
            stack.callback(driver.close)
            return driver

        yield start
