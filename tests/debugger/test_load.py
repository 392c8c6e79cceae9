"""What loading the commands costs a user of gdb who never calls one."""

from __future__ import annotations

import statistics
import subprocess
import time

from harness import gdbs

BUDGET_S = 0.060
HEAVY = ("asyncio", "dataclasses", "inspect", "subprocess", "json", "ctypes", "socket")


def _run(gdb, env, *commands):
    began = time.perf_counter()
    done = subprocess.run(
        [gdb.path, "-nx", "-batch", *(word for each in commands for word in ("-ex", each))],
        capture_output=True,
        text=True,
        env=env,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return time.perf_counter() - began, done.stdout


def _environment(tmp_path):
    env = gdbs.environment()
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path / "cache")
    return env


def test_loading_stays_in_its_budget(gdb, tmp_path):
    env = _environment(tmp_path)
    line = gdbs.load_line()
    _run(gdb, env, line)
    bare, loaded = [], []
    for _ in range(9):
        bare.append(_run(gdb, env)[0])
        loaded.append(_run(gdb, env, line)[0])
    assert statistics.median(loaded) - statistics.median(bare) < BUDGET_S


def test_loading_imports_nothing_heavy(gdb, tmp_path):
    look = "python import sys; print('NEW', *sorted(sys.modules))"
    env = _environment(tmp_path)
    before = _run(gdb, env, look)[1].split()
    after = _run(gdb, env, gdbs.load_line(), look)[1].split()
    assert not set(HEAVY) & (set(after) - set(before))
    assert "pagezap.commands.session.install" not in after
    assert "pagezap.commands.session.hits" not in after
