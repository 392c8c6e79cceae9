"""x86-64: registers, the system call convention, the width of stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.debugger.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MASK = 2**64 - 1
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
CLONE = 56


class X86_64:  # noqa: N801 - the architecture's own name
    """See Arch."""

    machine = "x86_64"
    pc = "rip"
    longest_instruction = 15
    syscall_instruction = b"\x0f\x05"
    return_instruction = b"\xc3"
    stack_register = "rsp"
    red_zone = 128
    result_register = "rax"
    # orig_rax after rax and rip: the kernel looks at all three together, and gdb forgets a
    # pending restart when the program counter is written.
    saved_registers = (
        "rdi",
        "rsi",
        "rdx",
        "rcx",
        "r8",
        "r9",
        "r10",
        "r11",
        "r12",
        "r13",
        "rsp",
        "eflags",
        "rax",
        "rip",
        "orig_rax",
    )

    def syscall_registers(
        self, number: int, arguments: Sequence[int], instruction: int
    ) -> Mapping[str, int]:
        """See Arch. With orig_rax at -1 the kernel takes the thread as in no system call."""
        registers = dict(zip(ARGUMENTS, (a & MASK for a in arguments), strict=False))
        return {**registers, "rax": number, "rip": instruction, "orig_rax": MASK}

    def clone_registers(
        self, code: int, mailbox: int, flags: int, stacks: tuple[int, int]
    ) -> Mapping[str, int]:
        """See Arch. The image's entry expects the mailbox in r12, the agent's stack in r13."""
        registers = self.syscall_registers(CLONE, (flags, stacks[0], 0, 0, 0), code)
        return {**registers, "r12": mailbox, "r13": stacks[1]}

    def syscall_number(self, name: str) -> int:
        """See Arch."""
        number = _numbers().get(name)
        if number is None:
            raise UnsupportedError(f"x86_64 has no system call named {name}", kind="syscall")
        return number

    def syscall_name(self, number: int) -> str:
        """See Arch."""
        from pagezap.debugger.arch.x86_64_syscalls import NAMES

        return NAMES.get(number, f"syscall_{number}")

    def store_width(self, code: bytes) -> int | None:
        """See Arch."""
        from pagezap.debugger.arch.x86_64_stores import store_width

        return store_width(code)


_cache: dict[str, int] = {}


def _numbers() -> Mapping[str, int]:
    if not _cache:
        from pagezap.debugger.arch.x86_64_syscalls import NAMES

        _cache.update((name, number) for number, name in NAMES.items())
    return _cache
