"""The commands that need no session, in each lldb that is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig

import pytest

from harness import lldbs

LOAD = (
    "script import site; site.addsitedir({!r}); import pagezap.commands.load_lldb; "
    "pagezap.commands.load_lldb.load(lldb.debugger)"
)


@pytest.fixture(params=lldbs.found(), ids=lambda each: each.name)
def lldb(request, tmp_path):
    def run(*commands, program):
        script = tmp_path / "commands.lldb"
        load = LOAD.format(sysconfig.get_paths()["purelib"])
        lines = [f"script print('@@{number}@@')\n{line}" for number, line in enumerate(commands)]
        script.write_text("\n".join([load, *lines]) + "\n")
        done = subprocess.run(
            [request.param.path, "--batch", "--no-lldbinit", "-s", script, program],
            capture_output=True,
            text=True,
            env=request.param.environment(tmp_path),
            stdin=subprocess.DEVNULL,
            timeout=100,
            check=False,
        )
        parts = re.split(r"^@@\d+@@\n", done.stdout, flags=re.MULTILINE)[1:]
        # The prompt repeats each command of a script.
        return [part.partition("\n")[2] for part in parts], done

    return run


BEGIN = ["breakpoint set -n begin", "run"]


def test_a_page_is_zapped_and_lldb_sees_zeros(lldb, program):
    parts, done = lldb(
        *BEGIN, "memory read -s 1 -f x -c 4 kept", "pagemap-show --json kept, +65536",
        "zap --json kept, +4096", "memory read -s 1 -f x -c 4 kept",
        "memory read -s 1 -f x -c 4 kept+4096", "zap --json --keep kept, +4096", program=program,
    )  # fmt: skip
    *_, before, shown, zapped, after, beside, kept = parts
    assert ": 0x00 0x00" not in before, done.stdout
    pages = json.loads(shown.splitlines()[0])
    assert pages["ok"], pages
    result = json.loads(zapped.splitlines()[0])
    assert (result["ranges"][0]["zapped"], result["ranges"][0]["via"]) == (1, "inject")
    assert ": 0x00 0x00 0x00 0x00" in after, done.stdout
    assert ": 0x00 0x00" not in beside, done.stdout
    # What lldb cannot yet is refused, and fails the run.
    refused = json.loads(kept.splitlines()[0])
    assert refused["error"]["kind"] == "unsupported", refused
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("range_", "kind"),
    [("0x1000, +4096", "unmapped"), ("nosuch", "no-symbol"),
     ("kept", "pointer-without-length")],
)  # fmt: skip
def test_a_bad_range_is_refused_in_one_line(lldb, program, range_, kind):
    parts, done = lldb(*BEGIN, f"zap --json {range_}", program=program)
    body = json.loads(parts[-1].splitlines()[0])
    assert body["error"]["kind"] == kind, body
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_without_a_process(lldb, program):
    parts, done = lldb("zap --json 0x1000, +4096", program=program)
    assert json.loads(parts[-1].splitlines()[0])["error"]["kind"] == "no-inferior"
    assert done.returncode == 1
    assert os.path.exists(program)
