"""What this kernel, these privileges and an inferior allow, line by line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pagezap.commands.memory.text import count
from pagezap.debugger.errors import PermissionRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNPRIVILEGED = "/proc/sys/vm/unprivileged_userfaultfd"
PTRACE_SCOPE = "/proc/sys/kernel/yama/ptrace_scope"

FEATURES = (
    ("thread_id", "faults name their thread", "Linux 4.14"),
    ("exact_address", "faults name the exact address", "Linux 5.18"),
    ("wp", "write watches", "Linux 5.7"),
    ("wp_unpopulated", "write watches on pages never touched", "Linux 6.4"),
    ("wp_async", "dirty tracking without stops", "Linux 6.7"),
    ("move", "keeping pages without a copy (stash)", "Linux 6.8"),
    ("poison", "pages that fault on purpose", "Linux 6.6"),
    ("events_fork", "kept pages in forked children", "Linux 4.11 and CAP_SYS_PTRACE"),
    ("events_remap", "kept pages that mremap moves", "Linux 4.11"),
    ("events_remove", "the program's own zaps", "Linux 4.11"),
    ("events_unmap", "the program's own unmaps", "Linux 4.11"),
    ("minor_shmem", "minor faults of shared memory", "Linux 5.14"),
    ("rwp", "traps of reads of present pages", "a newer kernel"),
)
"""Userfaultfd features: the probe's key, what it is for, what brings it."""


class Check:
    """One line: something that is available or not, why, and how to get it."""

    __slots__ = ("available", "detail", "fix", "name")

    def __init__(self, name: str, *, available: bool, detail: str, fix: str = "") -> None:
        """State whether ``name`` is available; ``fix`` says how to allow it."""
        self.name = name
        self.available = available
        self.detail = detail
        self.fix = fix

    def json(self) -> dict[str, object]:
        """Return the check as JSON shows it."""
        return {
            "name": self.name,
            "available": self.available,
            "detail": self.detail,
            "fix": self.fix,
        }


def render(checks: Sequence[Check]) -> str:
    """Return the checks as a table, each missing thing with its fix below."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        mark = "yes" if check.available else "no "
        lines.append(f"{check.name:<{width}}  {mark}  {check.detail}".rstrip())
        if not check.available and check.fix:
            lines.append(f"{'':<{width}}       to allow it: {check.fix}")
    return "\n".join(lines)


def collect(pid: int | None, *, ours: bool = False) -> list[Check]:
    """Return the checks of this machine, and of process ``pid`` where one is given.

    ``ours`` says that a session of ours is in that process.
    """
    checks = _helper_checks()
    if pid is None:
        return checks
    try:
        return [*checks, *_process_checks(pid, ours=ours)]
    except PermissionRefusedError as error:
        readable = Check("process", available=False, detail=error.message, fix=error.hint)
        return [*checks, readable]


def _first_line(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.readline().strip()
    except OSError:
        return None


def _helper_checks() -> list[Check]:
    from pagezap import native
    from pagezap.native import launch

    path = native.helper_path()
    fix = "reinstall pagezap, or run scripts/setup in its source tree"
    if not os.access(path, os.X_OK):
        return [Check("helper", available=False, detail=f"{path} is missing", fix=fix)]
    try:
        probe = launch.probe()
    except Exception as error:  # noqa: BLE001 - whatever a broken helper does is a finding
        return [Check("helper", available=False, detail=f"{path}: {error}", fix=fix)]
    return [Check("helper", available=True, detail=str(path)), *machine_checks(probe)]


def machine_checks(probe: Mapping[str, object]) -> list[Check]:
    """Return the checks that the helper's probe answers."""
    checks = [
        Check(
            "kernel",
            available=True,
            detail=str(probe.get("kernel", os.uname().release)),
        ),
        _userfaultfd(probe),
        _kernel_faults(probe),
    ]
    features = probe.get("features")
    if isinstance(features, dict):
        checks += [
            Check(
                name.replace("_", "-"),
                available=bool(features.get(name)),
                detail=purpose,
                fix=f"needs {source}",
            )
            for name, purpose, source in FEATURES
        ]
    checks += [
        _simple(probe, "cap_sys_ptrace", "fork events, other users' processes"),
        _simple(probe, "cap_sys_nice", "advice to another process"),
        _simple(probe, "pidfd_getfd", "taking the userfaultfd from the inferior", "Linux 5.6"),
        _simple(probe, "pagemap_scan", "fast page maps, zero pages told apart", "Linux 6.7"),
        _simple(probe, "process_madvise_self", "zap of many ranges by one call", "Linux 6.13"),
        _remote(probe),
        _simple(probe, "map_files", "dropping shared memory from outside", "CAP_SYS_ADMIN"),
        _simple(probe, "kpageflags", "kinds of physical pages", "CAP_SYS_ADMIN"),
        _simple(
            probe,
            "thp",
            "transparent huge pages",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        _simple(probe, "swap", "pageout has somewhere to write", "swapon a swap file or zram"),
        _simple(probe, "ksm", "merged pages", "echo 1 > /sys/kernel/mm/ksm/run"),
        _ptrace_scope(),
    ]
    return checks


def _simple(probe: Mapping[str, object], key: str, purpose: str, needs: str = "") -> Check:
    value = probe.get(key)
    if key.startswith("cap_"):
        needs = "run as root, or grant the capability"
    elif needs.startswith(("Linux", "CAP_")):
        needs = f"needs {needs}"
    detail = purpose if isinstance(value, bool) or value is None else f"{purpose} ({value})"
    return Check(
        key.replace("_", "-"),
        available=bool(value) and value != "never",
        detail=detail,
        fix=needs,
    )


def _userfaultfd(probe: Mapping[str, object]) -> Check:
    number = probe.get("userfaultfd_errno")
    if probe.get("userfaultfd"):
        how = probe.get("userfaultfd_how") or probe.get("how") or "syscall"
        return Check("userfaultfd", available=True, detail=f"by {how}")
    why = os.strerror(number) if isinstance(number, int) and number else "not offered"
    return Check(
        "userfaultfd",
        available=False,
        detail=why,
        fix=f"echo 1 > {UNPRIVILEGED}, or run as root, on a kernel with CONFIG_USERFAULTFD",
    )


def _kernel_faults(probe: Mapping[str, object]) -> Check:
    return Check(
        "kernel-mode-faults",
        available=bool(probe.get("userfaultfd")) and not probe.get("user_mode_only"),
        detail="system calls may touch kept and watched pages",
        fix=f"run as root, or echo 1 > {UNPRIVILEGED}",
    )


def _remote(probe: Mapping[str, object]) -> Check:
    found = probe.get("remote_advice", probe.get("remote"))
    names: list[str] = []
    if isinstance(found, dict):
        names = sorted(str(name) for name, works in found.items() if works)
    elif isinstance(found, list):
        names = sorted(str(name) for name in found)
    return Check(
        "remote-advice",
        available=bool(names),
        detail=f"advice taken from outside: {', '.join(names) or 'none'}",
        fix="needs Linux 5.10 and CAP_SYS_NICE",
    )


def _ptrace_scope() -> Check:
    scope = _first_line(PTRACE_SCOPE)
    free = scope in {None, "0"} or (os.geteuid() == 0 and scope != "3")
    return Check(
        "attach",
        available=free,
        detail="attaching is not restricted" if free else f"ptrace_scope is {scope}",
        fix=f"echo 0 > {PTRACE_SCOPE}, or run as root",
    )


def _process_checks(pid: int, *, ours: bool) -> list[Check]:
    """Return what one process allows."""
    from pagezap.debugger import procfs

    bits = procfs.process_bits(pid)
    owner = procfs.uid(pid)
    filtered = [tid for tid in procfs.tasks(pid) if procfs.seccomp(pid, tid)]
    tracer = procfs.tracer_pid(pid)
    registered = procfs.registered(pid)
    own = os.geteuid()
    return [
        Check(
            "process-bits",
            available=bits == 64,
            detail=f"process {pid} is a {bits}-bit program",
            fix="64-bit programs only",
        ),
        Check(
            "process-owner",
            available=own in {0, owner},
            detail=f"process {pid} belongs to user {owner}, this is user {own}",
            fix="run as that user or as root",
        ),
        Check(
            "process-seccomp",
            available=not filtered,
            detail=f"{count(len(filtered), 'thread')} under a seccomp filter"
            if filtered
            else "no filter",
            fix="start the program without its sandbox",
        ),
        Check(
            "process-traced",
            available=True,
            detail=f"traced by process {tracer}" if tracer else "not traced",
        ),
        Check(
            "process-userfaultfd",
            available=ours or not registered,
            detail=(
                f"{len(registered)} mappings are registered with "
                f"{'our' if ours else 'a'} userfaultfd, the first at {registered[0].start:#x}"
                if registered
                else "no mapping is registered with a userfaultfd"
            ),
            fix="what another userfaultfd has cannot be kept or watched; uffd-release ends ours",
        ),
    ]
