"""Reading files of /proc, with errors that say what is the matter."""

from __future__ import annotations

import os

from pagezap.debugger.errors import NoInferiorError, PermissionRefusedError


def read_bytes(path: str) -> bytes:
    """Read a file of /proc whole. Raises NoInferiorError or PermissionRefusedError."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise refusal(path, error) from error


def living(pid: int) -> int:
    """Return the thread by whose files of /proc a process's memory can be read.

    It is the first one, unless that has called pthread_exit(3) and others go on. Also the
    first one where none has memory, as in a zombie.
    """
    if has_memory(pid):
        return pid
    try:
        found = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return pid
    return next(filter(has_memory, found), pid)


def has_memory(tid: int) -> bool:
    """Return whether a thread has its process's memory: one that has ended has none."""
    try:
        with open(f"/proc/{tid}/statm", "rb", buffering=0) as file:
            return not file.read().startswith(b"0 ")
    except OSError:
        return False


def refusal(path: str, error: OSError) -> NoInferiorError | PermissionRefusedError:
    """Return the error to raise for a file of /proc that could not be read."""
    words = path.split("/")
    pid = words[2] if len(words) > 2 else "?"
    if isinstance(error, PermissionError):
        return PermissionRefusedError(
            f"{path} may not be read",
            hint="run the debugger as the owner of the process or as root",
        )
    return NoInferiorError(
        f"Process {pid} is gone ({error.strerror})",
        hint="start or attach to a process",
        kind="gone",
    )
