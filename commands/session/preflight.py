"""Every reason not to set up a session, looked for before anything is touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pagezap.debugger import procfs
from pagezap.debugger.errors import HelperError, PermissionRefusedError, UnsupportedError
from pagezap.debugger.injectable import check_bits, check_seccomp

if TYPE_CHECKING:
    from pagezap.debugger.api import Inferior


def check(inferior: Inferior) -> None:
    """Refuse an inferior or a kernel on which a session cannot work.

    Raises UnsupportedError (``bits``, ``architecture``, ``seccomp``, ``no-userfaultfd``),
    PermissionRefusedError or HelperError (``helper-missing``).
    """
    check_injectable(inferior)
    check_helper()
    check_privilege(inferior)


def check_privilege(inferior: Inferior) -> None:
    """Refuse a process that the kernel would give no userfaultfd that sees system calls.

    The descriptor is made by the process itself, so it is its privilege that counts, not
    the debugger's. See userfaultfd(2), vm.unprivileged_userfaultfd.
    """
    if procfs.has_capability(inferior.pid, procfs.CAP_SYS_PTRACE) or everybody_may():
        return
    raise PermissionRefusedError(
        f"Process {inferior.pid} may not make a userfaultfd (it lacks CAP_SYS_PTRACE)",
        hint="allow it to everybody with: sysctl -w vm.unprivileged_userfaultfd=1",
    )


def everybody_may() -> bool:
    """Return whether the kernel gives a userfaultfd to a process without CAP_SYS_PTRACE."""
    try:
        with open("/proc/sys/vm/unprivileged_userfaultfd") as file:
            return file.read().strip() != "0"
    except OSError:
        # A kernel from before this restriction.
        return True


def check_injectable(inferior: Inferior) -> None:
    """Refuse an inferior in which no system call may be made."""
    check_bits(inferior)
    check_seccomp(inferior.pid, procfs.tasks(inferior.pid))


def check_helper() -> None:
    """Refuse where the helper is missing or the kernel denies it a userfaultfd."""
    from pagezap import native
    from pagezap.native import launch

    path = native.helper_path()
    if not os.access(path, os.X_OK):
        raise HelperError(
            f"The helper {path} is missing or not executable",
            hint="reinstall pagezap, or run scripts/setup in its source tree",
            kind="helper-missing",
        )
    probe = launch.probe()
    if not probe.get("userfaultfd"):
        detail = os.strerror(int(probe.get("userfaultfd_errno", 0) or 0))
        raise UnsupportedError(
            f"This kernel gives the helper no userfaultfd ({detail})",
            hint="uffd-doctor tells what is missing and how to allow it",
            kind="no-userfaultfd",
        )
