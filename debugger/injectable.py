"""What keeps pagezap from making system calls in an inferior, whoever is to make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.debugger import procfs
from pagezap.debugger.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagezap.debugger.api import Inferior

BITS = 64


def check_bits(inferior: Inferior) -> None:
    """Refuse a program whose words are not ours. Raises UnsupportedError ``bits``."""
    if inferior.bits != BITS:
        raise UnsupportedError(
            f"Process {inferior.pid} is a {inferior.bits}-bit program",
            hint=f"pagezap works on {BITS}-bit inferiors only",
            kind="bits",
        )


def check_seccomp(pid: int, tids: Iterable[int]) -> None:
    """Refuse threads that a filter might kill. Raises UnsupportedError ``seccomp``."""
    for tid in tids:
        if procfs.seccomp(pid, tid):
            raise UnsupportedError(
                f"Thread {tid} of process {pid} runs under a seccomp filter, "
                "which might kill it for a system call made on its behalf",
                hint="start the program without its sandbox to use pagezap on it",
                kind="seccomp",
            )
