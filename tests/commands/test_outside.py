"""`pagezap doctor` and `pagezap recover`, which need no debugger."""

from __future__ import annotations

import json
import subprocess

import pytest

from harness import gdbs

NOBODY = "4194000"


def call(*words):
    return subprocess.run(
        [gdbs.PAGEZAP, *words], capture_output=True, text=True, timeout=60, check=False,
        env=gdbs.environment(),
    )  # fmt: skip


@pytest.mark.parametrize("words", [("doctor", "--pid", NOBODY), ("recover", NOBODY)])
def test_a_process_that_is_not_there(words):
    plain, told = call(*words), call(*words, "--json")
    assert (plain.returncode, told.returncode) == (1, 1)
    assert plain.stdout == ""
    assert plain.stderr.startswith(f"pagezap: No program runs as process {NOBODY}")
    assert "attach" not in plain.stderr, "there is no debugger to attach with"
    body = json.loads(told.stdout)
    assert (body["command"], body["ok"]) == (words[0], False)
    assert body["error"]["kind"] == "no-inferior"
    assert told.stderr == plain.stderr


def test_a_process_without_a_session(inferiors):
    running = inferiors.start("keepmem.c", "65536")
    assert json.loads(call("recover", "--json", str(running.pid)).stdout)["error"]["kind"] == (
        "nothing-to-recover"
    )
    done = call("doctor", "--json", "--pid", str(running.pid))
    assert done.returncode == 0, done
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["process-bits"]["available"]
    assert {"name", "available", "detail", "fix"} == set(checks["helper"])
