"""x86-64: registers, the system call convention, the width of stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.debugger.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MASK = 2**64 - 1
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
CLONE = 56
PREFIXES = frozenset(b"\x66\x67\xf0\xf2\xf3\x26\x2e\x36\x3e\x64\x65")
STRING_OPCODES = frozenset(b"\xa4\xa5\xaa\xab\x6c\x6d")
"""movs, stos, ins: with a repeat prefix they stay where they are until the last element."""


class X86_64:  # noqa: N801 - the architecture's own name
    """See Arch."""

    machine = "x86_64"
    pc = "rip"
    most_syscalls = 1024
    longest_instruction = 15
    syscall_instruction = b"\x0f\x05"
    return_instruction = b"\xc3"
    stack_register = "rsp"
    sigreturn_code = b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05"
    # struct rt_sigframe: a return address, then ucontext_t with its registers at 40.
    signal_frame = (8 + 40 + 16 * 8, 8 + 40 + 15 * 8)
    red_zone = 128
    result_register = "rax"
    call_register = "orig_rax"
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

    def executed(self, code: bytes, before: int, after: int) -> bool:
        """See Arch."""
        at = next((i for i, byte in enumerate(code) if byte not in PREFIXES), len(code))
        repeated = any(byte in {0xF2, 0xF3} for byte in code[:at])
        if at < len(code) and code[at] & 0xF0 == 0x40:
            at += 1  # REX
        opcode = code[at] if at < len(code) else 0
        if after == before:
            return repeated and opcode in STRING_OPCODES
        if 0 < after - before <= self.longest_instruction:
            return True
        indirect = opcode == 0xFF and at + 1 < len(code) and code[at + 1] >> 3 & 7 in {2, 3}
        return opcode == 0xE8 or indirect


_cache: dict[str, int] = {}


def _numbers() -> Mapping[str, int]:
    if not _cache:
        from pagezap.debugger.arch.x86_64_syscalls import NAMES

        _cache.update((name, number) for number, name in NAMES.items())
    return _cache
