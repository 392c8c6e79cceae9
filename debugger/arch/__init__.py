"""What pagezap must know of a processor, behind one Protocol; one module for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pagezap.debugger.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Arch(Protocol):
    """A processor and its Linux system call convention; see syscall(2)."""

    machine: str
    pc: str
    """Register of the program counter."""
    most_syscalls: int
    """A number that no system call reaches."""
    longest_instruction: int
    """Bytes that are enough to hold any instruction."""
    syscall_instruction: bytes
    return_instruction: bytes
    """Takes the program counter from where the stack pointer points, and nothing else."""
    stack_register: str
    sigreturn_code: bytes
    """What a signal's handler returns to, as the C libraries have it."""
    signal_frame: tuple[int, int]
    """Where a handler is entered: offsets from the stack pointer of the program counter
    and the stack pointer that the signal came upon (kernel: arch/*/kernel/signal.c)."""
    red_zone: int
    """Bytes below the stack pointer that a function may use."""
    result_register: str
    call_register: str
    """Has the number of the system call still where that has just returned."""

    @property
    def saved_registers(self) -> Sequence[str]:
        """What a system call, or entering one, can change; in the order to write them back."""

    def syscall_registers(
        self, number: int, arguments: Sequence[int], instruction: int
    ) -> Mapping[str, int]:
        """Return the registers with which a thread makes a system call.

        They also keep the kernel from restarting the call that the thread was in.
        """

    def clone_registers(
        self, code: int, mailbox: int, flags: int, stacks: tuple[int, int]
    ) -> Mapping[str, int]:
        """Return the registers with which a thread enters the agent's image and clones.

        ``stacks`` are the tops of the intermediate task's and of the agent's stack.
        """

    def syscall_number(self, name: str) -> int:
        """Return a system call's number. Raises UnsupportedError for an unknown name."""

    def syscall_name(self, number: int) -> str:
        """Return a system call's name, ``syscall_N`` where it is not known."""

    def store_width(self, code: bytes) -> int | None:
        """Return how many bytes the instruction at the start of ``code`` writes to memory.

        None where it writes none or that cannot be told from the instruction.
        """

    def executed(self, code: bytes, before: int, after: int) -> bool:
        """Return whether a step from ``before`` to ``after`` ran the instruction ``code``.

        ``code`` is one that writes memory. Where the step ended in a signal's handler, or
        where it began, the instruction is still to come.
        """


def for_machine(machine: str) -> Arch:
    """Return the processor that uname(2) calls ``machine``. Raises UnsupportedError."""
    if machine == "x86_64":
        from pagezap.debugger.arch.x86_64 import X86_64

        return X86_64()
    raise UnsupportedError(
        f"pagezap does not know the architecture {machine}",
        hint="x86_64 is supported",
        kind="architecture",
    )
