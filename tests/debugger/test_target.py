"""Which inferiors are refused, and that asking costs gdb nothing."""

from __future__ import annotations

import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness import gdbs

PROGRAM = r"""
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    setvbuf(stdout, 0, _IONBF, 0);
    puts("ready");
    for (;;)
        usleep(1000);
}
"""
ASK = """
try:
    out(pid=d.inferior().pid)
except errors.NoInferiorError as error:
    out(kind=error.kind, message=error.message)
"""
ARRIVED = "\nprint('ARRIVED', d.inferior().pid, flush=True)"
GDBSERVER = pathlib.Path(sys.executable).parent / "gdbserver"


@pytest.fixture
def program(compile_c):
    return compile_c(PROGRAM)


@pytest.fixture
def server(program):
    """A gdbserver with the program; returns its port."""
    path = GDBSERVER if GDBSERVER.exists() else shutil.which("gdbserver")
    if not path:
        pytest.skip("there is no gdbserver")
    process = subprocess.Popen(
        [path, "--once", "0.0.0.0:0", program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=gdbs.environment(),
    )
    for line in process.stderr:
        if "Listening on port" in line:
            yield int(line.split()[-1])
            break
    else:
        pytest.skip("gdbserver does not start here")
    process.kill()
    process.wait()
    process.stderr.close()


def test_a_native_process_and_none(program, start, run_gdb):
    process = start(program)
    found, _ = run_gdb(ASK, "detach", pid=process.pid)
    assert found == {"pid": process.pid}
    found, _ = run_gdb(ASK)
    assert found["message"] == "There is no live process"


def test_a_core_file(program, run_gdb, tmp_path):
    core = tmp_path / "core"
    run_gdb("break main", "run", f"generate-core-file {core}", "kill", program=program)
    found, _ = run_gdb(f"core-file {core}", ASK, program=program)
    assert found["kind"] == "core"


def test_after_a_core_file_comes_a_process(program, start, run_gdb, tmp_path):
    process = start(program)
    core = tmp_path / "core"
    found, _ = run_gdb(
        f"generate-core-file {core}", "detach", f"core-file {core}",
        ASK, "detach", f"attach {process.pid}", ASK, "detach", pid=process.pid,
    )  # fmt: skip
    assert found["kind"] == "core"
    assert found["pid"] == process.pid


def test_a_server_on_this_machine(server, program, run_gdb):
    found, text = run_gdb(f"target remote localhost:{server}", ASK, "kill", program=program)
    assert found.get("pid", 0) > 0, text


def test_a_server_that_may_be_anywhere(server, program, run_gdb):
    host = socket.gethostbyname(socket.gethostname())
    if host.startswith("127."):
        host = "127.0.0.2"
    found, text = run_gdb(f"target remote {host}:{server}", ASK, "kill", program=program)
    assert found.get("kind") == "remote", text
    assert f"{host}:{server}" in found["message"]


def test_what_gdb_prints_of_a_connection(run_gdb):
    lines = {
        "* 1    process 13481     1 (native)           /tmp/a (1) b": ["native", ""],
        "* 1    <null>                                 /tmp/w": ["", ""],
        "* 12   process 7         3 (extended-remote host:1) ": ["extended-remote", "host:1"],
        "* 1    process 7 1 (remote | a (b) server - c) /w": ["remote", "| a (b) server - c"],
        "* 1    process 7 1 (core)": ["core", ""],
    }  # fmt: skip
    look = f"""
from pagezap.debugger.backends import gdb_target
result = []
for line in {list(lines)!r}:
    said = "  Num Description\\n" + line
    gdb_target.execute = lambda command: said
    result.append(list(gdb_target.connection(1)))
out(result=result)
"""
    found, _ = run_gdb(look)
    assert found["result"] == list(lines.values())


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_ends_gdb_in_order(sent, gdb, program, start, head, tmp_path):
    process = start(program)
    ask = tmp_path / "ask.py"
    ask.write_text(ARRIVED)
    command = [gdb.path, "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off"]
    command += ["-p", str(process.pid), "-x", str(head), "-x", str(ask), "-ex", "continue"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=gdbs.environment(),
    )
    lines = []
    for line in running.stdout:
        lines.append(line)
        if line.startswith("ARRIVED"):
            break
    time.sleep(0.5)
    running.send_signal(sent)
    text = "".join(lines) + running.communicate(timeout=20)[0]
    assert "internal-error" not in text
    assert running.returncode >= 0, json.dumps(text)
    assert process.poll() is None
