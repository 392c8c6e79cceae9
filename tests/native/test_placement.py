"""Where and how the helper's threads run."""

from __future__ import annotations

import os
import signal
import struct
import threading
from pathlib import Path

from selfhost import Inferior, process_state, wait_for

from pagezap.native import launch


def _agent(inferior: Inferior) -> int:
    """Its id, which it writes into the command page; 0 before it has."""
    with open(f"/proc/{inferior.pid}/mem", "rb", buffering=0) as memory:
        memory.seek(inferior.place["mailbox"])
        ready, agent = struct.unpack("<Ii", memory.read(8))
        return int(agent) if ready else 0


def _helper(inferior: Inferior) -> int:
    """The helper, which what we started has forked; 0 before there is one."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            stat = Path(f"/proc/{name}/stat").read_text(encoding="utf-8")
        except OSError:
            continue
        parent = int(stat.rpartition(")")[2].split()[1])
        if parent != os.getpid() and f"--pid={inferior.pid}".encode() in words:
            return int(name)
    return 0


def _sleeps(pid: int) -> int:
    """How often it has gone to sleep."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(text.partition("voluntary_ctxt_switches:")[2].split()[0])


def test_no_policy_is_changed_before_the_fault_thread_runs(program: Path) -> None:
    inferior = Inferior(program)
    agent = wait_for(lambda: _agent(inferior))
    found = []

    def start() -> None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        found.append(launch.start(inferior.pid, **inferior.place))

    starting = threading.Thread(target=start)
    try:
        os.kill(agent, signal.SIGSTOP)
        wait_for(lambda: process_state(agent) == "T")
        starting.start()
        helper = wait_for(lambda: _helper(inferior))
        # It waits for the agent, and looks at its own placement each time.
        wait_for(lambda: _sleeps(helper) > 10)
        assert os.sched_getscheduler(helper) == os.SCHED_IDLE
    finally:
        os.kill(agent, signal.SIGCONT)
        if starting.is_alive():
            starting.join()
        for client in found:
            client.release()
            client.close()
        inferior.end()
