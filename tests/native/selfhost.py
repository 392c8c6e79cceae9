"""A session without a debugger: the test inferior sets it up itself."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pagezap.native import control, helper_path, launch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 4096
PAGEMAP_PRESENT = 1 << 63
PAGEMAP_SWAPPED = 1 << 62


def wait_for(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Poll until a condition holds; its value."""
    end = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > end:
            raise AssertionError("timed out")
        time.sleep(0.002)


def process_state(pid: int) -> str:
    """The state letter; X where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return "X"
    return text.rpartition(")")[2].split()[0]


def hold(pid: int) -> None:
    """Stop a process, and return when none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    wait_for(lambda: all(process_state(int(task.name)) == "T" for task in tasks.iterdir()))


def ended(pid: int) -> bool:
    """Gone, or a zombie that init does not reap."""
    return process_state(pid) in "XZ"


class Inferior:
    """The test program and what it made for a session."""

    def __init__(self, program: Path, length: int = 1 << 20, wrapper: tuple[str, ...] = ()) -> None:
        agent = helper_path().with_name("agent.bin")
        self.process = subprocess.Popen(
            [*wrapper, str(program), str(agent), str(length)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        numbers = [int(word) for word in self.answer().split()]
        self.pid, uffd, command, mailbox, code, self.buffer, self.length = numbers
        self._task: int | None = None
        if wrapper:  # it starts the program, whose own number may be of another namespace
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            self.pid = int(children.read_text(encoding="utf-8").split()[0])
        self.place = {
            "uffd": uffd,
            "command": command,
            "mailbox": mailbox,
            "code": code,
            "code_length": 4 * PAGE,
        }

    def say(self, *words: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def ask(self, *words: object) -> str:
        self.say(*words)
        return self.answer()

    @property
    def task(self) -> int:
        """The thread that obeys: the first one, until it has left."""
        return self._task or self.pid

    def leave(self) -> None:
        """Have the first thread end, while another obeys."""
        self._task = int(self.ask("leave"))
        wait_for(lambda: process_state(self.pid) == "Z")

    def sum(self) -> str:
        return self.ask("sum", 0, self.length)

    def present(self, start: int | None = None, length: int | None = None) -> int:
        """Pages that pagemap says are present."""
        at = self.buffer if start is None else start
        pages = (self.length if length is None else length) // PAGE
        with open(f"/proc/{self.task}/pagemap", "rb", buffering=0) as pagemap:
            data = os.pread(pagemap.fileno(), pages * 8, at // PAGE * 8)
        entries = memoryview(data).cast("Q")
        return sum(1 for entry in entries if entry & PAGEMAP_PRESENT)

    def maps(self) -> list[str]:
        """The mappings, without the resident heap's changes."""
        text = Path(f"/proc/{self.task}/maps").read_text(encoding="utf-8")
        return text.splitlines()

    def map_names(self) -> str:
        return "\n".join(self.maps())

    def descriptors(self) -> set[str]:
        folder = f"/proc/{self.task}/fd"
        return {os.readlink(f"{folder}/{number}") for number in os.listdir(folder)}

    def vm_flags(self, address: int) -> set[str]:
        """VmFlags of smaps of the mapping that holds an address."""
        inside = False
        for line in Path(f"/proc/{self.task}/smaps").read_text(encoding="utf-8").splitlines():
            word = line.split()[0]
            if "-" in word and not word.endswith(":"):
                start, end = (int(part, 16) for part in word.split("-"))
                inside = start <= address < end
            elif inside and word == "VmFlags:":
                return set(line.split()[1:])
        return set()

    def sigtrap_caught(self) -> bool:
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        mask = next(int(x.split()[1], 16) for x in text.splitlines() if x.startswith("SigCgt"))
        return bool(mask >> (signal.SIGTRAP - 1) & 1)

    def assert_clean(self) -> None:
        """Nothing of a session is left."""
        names = self.map_names()
        assert "pagezap" not in names
        assert not any(
            line.split()[1] == "r-xp" and line.split()[4] == "0" and len(line.split()) == 5
            for line in self.maps()
        )
        for kind in self.descriptors():
            assert "userfaultfd" not in kind
            assert "pagezap" not in kind
        assert not self.vm_flags(self.buffer) & {"um", "uw"}
        assert not self.sigtrap_caught()
        assert process_state(self.task) in "SR"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


@contextmanager
def session(
    program: Path, length: int = 1 << 20, **options: Any
) -> Iterator[tuple[Inferior, control.Client]]:
    """An inferior with a helper, both ended afterwards."""
    inferior = Inferior(program, length)
    try:
        client = launch.start(inferior.pid, **inferior.place, **options)
        try:
            yield inferior, client
        finally:
            client.close()
    finally:
        inferior.end()


PTRACE_CONT = 7
PTRACE_SINGLESTEP = 9
PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207


class Tracer:
    """The smallest debugger: seize, continue, step."""

    def __init__(self, pid: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [
            ctypes.c_long,
            ctypes.c_long,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self._libc.ptrace.restype = ctypes.c_long
        self.pid = pid
        self._ptrace(PTRACE_SEIZE, 0)

    def _ptrace(self, request: int, data: int) -> None:
        if self._libc.ptrace(request, self.pid, 0, data) < 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def wait(self, seconds: float = 5.0) -> int:
        """The signal of the next stop."""

        def stopped() -> int:
            pid, status = os.waitpid(self.pid, os.WNOHANG | 0x40000000)
            if not pid:
                return 0
            assert os.WIFSTOPPED(status), status
            return os.WSTOPSIG(status)

        return int(wait_for(stopped, seconds))

    def stops(self, seconds: float = 0.2) -> bool:
        """Does it stop within that time?"""
        try:
            self.wait(seconds)
        except AssertionError:
            return False
        return True

    def interrupt(self) -> None:
        """Stop it where it is."""
        self._ptrace(PTRACE_INTERRUPT, 0)
        self.wait()

    def resume(self) -> None:
        self._ptrace(PTRACE_CONT, 0)

    def step(self) -> int:
        self._ptrace(PTRACE_SINGLESTEP, 0)
        return self.wait()

    def detach(self, deliver: int = 0) -> None:
        """Leave it at its stop, with a signal to take."""
        self._ptrace(PTRACE_DETACH, deliver)

    def stop_and_detach(self) -> None:
        """Leave a running process running."""
        self._ptrace(PTRACE_INTERRUPT, 0)
        self.wait()
        self._ptrace(PTRACE_DETACH, 0)
