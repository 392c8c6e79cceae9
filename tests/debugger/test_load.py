"""What loading the commands costs a user of gdb who never calls one."""

from __future__ import annotations

import subprocess

from harness import gdbs

HEAVY = ("asyncio", "dataclasses", "inspect", "subprocess", "json", "ctypes", "socket")


def _run(gdb, env, *commands):
    done = subprocess.run(
        [gdb.path, "-nx", "-batch", *(word for each in commands for word in ("-ex", each))],
        capture_output=True,
        text=True,
        env=env,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout


def _environment(tmp_path):
    env = gdbs.environment()
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path / "cache")
    return env


def test_loading_imports_nothing_heavy(gdb, tmp_path):
    look = "python import sys; print('NEW', *sorted(sys.modules))"
    env = _environment(tmp_path)
    before = _run(gdb, env, look).split()
    after = _run(gdb, env, gdbs.load_line(), look).split()
    assert not set(HEAVY) & (set(after) - set(before))
    assert "pagezap.commands.session.install" not in after
    assert "pagezap.commands.session.hits" not in after
