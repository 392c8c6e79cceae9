"""Runs scripts inside each gdb that is there, over small C programs."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from harness import gdbs, programs

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAD = """
import json, os, sys
sys.path.insert(0, {path!r})
from pagezap.debugger.backends import gdb_calls as backend
from pagezap.debugger.inject import Injector
from pagezap.debugger import errors, procfs, ranges
class Listener:
    def __init__(self): self.heard = []
    def stopped(self, stop): self.heard.append("stopped:" + stop.reason)
    def resuming(self, pids): self.heard.append("resuming")
    def calling(self): self.heard.append("calling")
    def called(self): self.heard.append("called")
    def exited(self, pid): self.heard.append("exited")
    def releasing(self, *, ending=False): self.heard.append("releasing")
def take(debugger):
    global d
    d = debugger
backend.load(take)
listener = Listener()
d.set_listener(listener)
injector = Injector(d)
def out(**values): print("OUT " + json.dumps(values), flush=True)
"""


@pytest.fixture(scope="session")
def namespace(tmp_path_factory):
    """A folder in which the tree has its installed name."""
    folder = tmp_path_factory.mktemp("ns")
    (folder / "pagezap").mkdir()
    (folder / "pagezap" / "debugger").symlink_to(ROOT / "debugger")
    return folder


@pytest.fixture
def compile_c(tmp_path):
    """Compiles C text to a program."""

    def build(text, *flags):
        return programs.compile_c(tmp_path, text, *flags)

    return build


@pytest.fixture
def start():
    """Starts a program and returns its process once it has written a line."""
    processes = []

    def run(program, *arguments):
        process = subprocess.Popen(
            [program, *arguments], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline()
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def head(tmp_path, namespace):
    """A script that loads the backend, with a listener that remembers."""
    script = tmp_path / "head.py"
    script.write_text(HEAD.format(path=str(namespace)))
    return script


@pytest.fixture
def run_gdb(gdb, tmp_path, head):
    """Runs gdb commands and Python in gdb; returns what out() was given, and all output.

    A step is a gdb command, or Python where it begins with a line end.
    """

    def run(*steps, pid=None, program=None, status=0):
        command = [gdb.path, "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off"]
        command += ["-iex", "set pagination off"]
        if pid is not None:
            command += ["-p", str(pid)]
        command += ["-x", str(head)]
        for number, step in enumerate(steps):
            script = tmp_path / f"step{number}.py"
            script.write_text(step)
            command += ["-ex", f"source {script}" if step.startswith("\n") else step]
        if program is not None:
            command.append(str(program))
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**gdbs.environment(), "TEST_PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
        )
        text = done.stdout + done.stderr
        if status is not None:
            assert done.returncode == status, text
        found = {}
        for line in done.stdout.splitlines():
            if "OUT {" in line:
                found.update(json.loads(line.partition("OUT ")[2]))
        return found, text

    return run
