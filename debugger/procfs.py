"""What /proc tells of a process: its tasks, its state, its word size.

Nothing is cached: each function reads the file anew. A process that has gone is a
NoInferiorError of kind ``gone``, a file that may not be read a PermissionRefusedError.
See proc(5). The address space is in maps.py, whose names are offered here as well.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from pagezap.debugger.errors import NoInferiorError, PermissionRefusedError
from pagezap.debugger.maps import Mapping, mappings, registered
from pagezap.debugger.procread import has_memory, living, read_bytes, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Mapping",
    "alive",
    "end_process",
    "executable",
    "find_agent",
    "has_capability",
    "living",
    "machine",
    "mappings",
    "namespace_pids",
    "open_files_limit",
    "process_bits",
    "read_bytes",
    "registered",
    "same_memory",
    "seccomp",
    "start_time",
    "status",
    "tasks",
    "threads",
    "tracer_pid",
    "uid",
    "vdso_address",
]

MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""e_machine of an ELF header to the name that uname(2) has for it; see elf(5)."""

AGENT_NAME = "pagezap-agent"
KCMP = {"x86_64": 312, "aarch64": 272, "riscv64": 272}
KCMP_VM = 1
AT_SYSINFO_EHDR = 33
"""auxv entry: the address of the [vdso]; see getauxval(3)."""
UNLIMITED = 2**63 - 1


def status(pid: int, tid: int | None = None) -> dict[str, str]:
    """Return the fields of one task's status, of one that lives where none is named."""
    fields = {}
    path = f"/proc/{pid}/task/{tid or living(pid)}/status"
    for line in read_bytes(path).decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        fields[name] = value.strip()
    return fields


def uid(pid: int) -> int:
    """Return the effective user of a process."""
    return int(status(pid)["Uid"].split()[1])


def tracer_pid(pid: int) -> int:
    """Return the process that traces ``pid``, 0 for none."""
    return int(status(pid)["TracerPid"])


def traced_by_server(pid: int) -> bool:
    """Return whether a gdbserver or lldb-server of this machine, be it run by its loader,
    traces the process."""
    try:
        with open(f"/proc/{tracer_pid(pid)}/cmdline", "rb") as file:
            words = file.read().split(b"\0")[:2]
    except (NoInferiorError, OSError):
        return False
    return any(b"server" in word.rpartition(b"/")[2] for word in words)


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return int(status(pid)["Threads"])


def namespace_pids(pid: int) -> list[int]:
    """Return the process's id in each pid namespace, ours first."""
    fields = status(pid, pid)
    return [int(word) for word in fields.get("NSpid", str(pid)).split()]


CAP_SYS_PTRACE = 19
"""Number of the capability; see capabilities(7)."""


def has_capability(pid: int, number: int) -> bool:
    """Return whether a process has a capability in effect; see capabilities(7)."""
    return bool(int(status(pid).get("CapEff", "0"), 16) >> number & 1)


def seccomp(pid: int, tid: int) -> int:
    """Return the seccomp mode of one thread: 0 none, 1 strict, 2 filter."""
    return int(status(pid, tid).get("Seccomp", "0"))


def tasks(pid: int) -> list[int]:
    """Return the ids of a process's threads, in the kernel's order."""
    path = f"/proc/{pid}/task"
    try:
        return sorted(int(name) for name in os.listdir(path))
    except OSError as error:
        raise refusal(path, error) from error


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on (the state)."""
    text = read_bytes(f"/proc/{pid}/stat").decode("utf-8", "replace")
    return text[text.rindex(")") + 2 :].split()


def start_time(pid: int) -> int:
    """Return when the process started, in clock ticks since boot: with the pid, its identity."""
    return int(_stat_fields(pid)[19])


def alive(pid: int) -> bool:
    """Return whether there is such a process and it is no zombie, be its first thread one."""
    try:
        return _stat_fields(pid)[0] not in {"Z", "X"} or has_memory(living(pid))
    except (NoInferiorError, PermissionRefusedError):
        return False


def executable(pid: int) -> str:
    """Return the path of a process's program."""
    path = f"/proc/{living(pid)}/exe"
    try:
        return os.readlink(path)
    except OSError as error:
        raise refusal(path, error) from error


def _elf_header(pid: int) -> bytes:
    path = f"/proc/{living(pid)}/exe"
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(20)
    except OSError as error:
        raise refusal(path, error) from error


def process_bits(pid: int) -> int:
    """Return the word size of a process, 64 or 32, as its program's ELF class says."""
    return 32 if _elf_header(pid)[4] == 1 else 64


def machine(pid: int) -> str:
    """Return the architecture of a process's program, as uname(2) would name it."""
    header = _elf_header(pid)
    number = int(struct.unpack_from("<H", header, 18)[0])
    return MACHINES.get(number, f"ELF machine {number}")


def vdso_address(pid: int) -> int | None:
    """Return where a 64-bit process has its [vdso]; cheaper than to look through its maps."""
    content = read_bytes(f"/proc/{living(pid)}/auxv")
    for kind, value in struct.iter_unpack("<QQ", content[: len(content) & -16]):
        if kind == AT_SYSINFO_EHDR:
            return int(value)
    return None


def open_files_limit(pid: int) -> tuple[int, int]:
    """Return the soft and the hard limit of open descriptors."""
    for line in read_bytes(f"/proc/{pid}/limits").decode("ascii", "replace").splitlines():
        if line.startswith("Max open files"):
            soft, hard = line.split()[3:5]
            return _limit(soft), _limit(hard)
    return UNLIMITED, UNLIMITED


def _limit(word: str) -> int:
    return UNLIMITED if word == "unlimited" else int(word)


def same_memory(one: int, other: int) -> bool:
    """Return whether two tasks share their memory; see kcmp(2)."""
    import ctypes

    number = KCMP.get(os.uname().machine)
    if number is None:
        return False
    return bool(ctypes.CDLL(None).syscall(number, one, other, KCMP_VM, 0, 0) == 0)


def find_agent(mailbox: int, read_memory: Callable[[int, int], bytes]) -> int | None:
    """Return the pid of the agent that serves the mailbox at an address of the inferior.

    The agent writes its id there when it starts. None where it has not, or has ended.
    """
    for _ in range(20):
        _, tid = struct.unpack("<Ii", read_memory(mailbox, 8))
        if tid > 0:
            return _outer_pid(tid)
        import time

        time.sleep(0.005)
    return None


def _outer_pid(tid: int) -> int | None:
    """Return the agent's pid here where its own pid namespace calls it ``tid``."""
    for name in [str(tid), *filter(str.isdigit, os.listdir("/proc"))]:
        try:
            fields = status(int(name), int(name))
        except (NoInferiorError, PermissionRefusedError):
            continue
        if (
            fields["Name"] == AGENT_NAME
            and int(fields.get("NSpid", name).split()[-1]) == tid
            and not fields["State"].startswith(("Z", "X"))
        ):
            return int(name)
    return None


def end_process(pid: int, seconds: float = 2.0) -> None:
    """Kill a process and wait until it runs no more; a zombie counts as ended."""
    import signal
    import time

    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.001)
