"""Reading files of /proc, with errors that say what is the matter."""

from __future__ import annotations

from pagezap.debugger.errors import NoInferiorError, PermissionRefusedError


def read_bytes(path: str) -> bytes:
    """Read a file of /proc whole. Raises NoInferiorError or PermissionRefusedError."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise refusal(path, error) from error


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
