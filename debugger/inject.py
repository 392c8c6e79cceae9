"""System calls made by a stopped thread of the inferior on our behalf.

The thread is pointed at a ``syscall`` instruction of the [vdso], which every program
has, steps over it with all other threads held, and gets its registers back, so that a
call in which it was blocked is restarted by the kernel as after any signal. See
ptrace(2), syscall(2), restart_syscall(2).
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pagezap.debugger import procfs
from pagezap.debugger.arch import for_machine
from pagezap.debugger.errors import InjectionError, RangeError, UnsupportedError
from pagezap.debugger.injectable import check_bits, check_seccomp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pagezap.debugger.api import Debugger, Inferior, Stop
    from pagezap.debugger.arch import Arch

ATTEMPTS = 8
"""How often a call is tried that a signal kept from running."""
HIGHEST_ERRNO = 4095
RESTARTS = frozenset({-512, -513, -514, -516})
"""What the kernel returns of a call that a signal interrupted; see include/linux/errno.h."""
FAULTS = frozenset({"SIGSEGV", "SIGBUS", "SIGILL"})
"""Signals of what a thread runs: in a step of ours not its own doing, and never given to it."""
FIRST_STACK, SECOND_STACK = 0x2000, 0x4000
"""Tops of the intermediate task's and of the agent's stack in the code area."""

_instructions: dict[tuple[int, int, int], tuple[int, int | None]] = {}
"""(pid, start time, address of the vdso) to the addresses of two instructions in it."""


class Injector:
    """Makes system calls in the inferior, by the thread that is selected."""

    def __init__(self, debugger: Debugger, arch: Arch | None = None) -> None:
        """Inject through ``debugger``; the architecture is the inferior's."""
        self._debugger = debugger
        self._arch = arch
        self._inside: _Borrowed | None = None

    def syscall(self, name: str | int, *arguments: int, raw: bool = False) -> int:
        """Make one system call and return its result.

        Raises InjectionError, whose ``errno`` is the call's, where the call fails; with
        ``raw`` the negative number is returned instead.
        """
        with self.session():
            thread = self._borrowed()
            arch = thread.arch
            number = arch.syscall_number(name) if isinstance(name, str) else name
            registers = arch.syscall_registers(number, arguments, thread.instruction)
            result = thread.run(registers)
        if not raw and -HIGHEST_ERRNO <= result < 0:
            raise failure(arch.syscall_name(number), -result)
        return result

    def take_signal(self, name: str) -> None:
        """Make the thread take a signal that the debugger may know of and not have told.

        It is dropped unless a third process sent it. The thread runs nothing of its own.
        """
        with self.session():
            thread = self._borrowed()
            thread.dropped = name
            number = thread.arch.syscall_number("getpid")
            thread.run(thread.arch.syscall_registers(number, (), thread.instruction))

    def clone_agent(self, code: int, mailbox: int, flags: int) -> int:
        """Clone the agent by its image at ``code``; return the intermediate task's pid.

        The intermediate task ends at once, and is the caller's to wait for (__WALL).
        """
        with self.session():
            thread = self._borrowed()
            stacks = (code + FIRST_STACK, code + SECOND_STACK)
            result = thread.run(thread.arch.clone_registers(code, mailbox, flags, stacks))
        if result < 0:
            raise failure("clone", -result)
        return result

    @contextlib.contextmanager
    def session(self) -> Iterator[Injector]:
        """Save and restore the thread's registers once around several calls.

        The inferior must not run in between. Refuses, with nothing touched, what may not
        or cannot be injected into (UnsupportedError ``seccomp``, ``bits``).
        """
        if self._inside is not None:
            yield self
            return
        inferior = self._debugger.inferior()
        check_bits(inferior)
        check_seccomp(inferior.pid, [self._debugger.selected_thread().tid])
        arch = self._arch or for_machine(inferior.machine)
        call, back = _find_instructions(self._debugger, inferior, arch)
        with self._debugger.stopping_at_signals():
            self._inside = _Borrowed(self._debugger, arch, call, back)
            try:
                yield self
            finally:
                borrowed, self._inside = self._inside, None
                borrowed.give_back()

    def _borrowed(self) -> _Borrowed:
        assert self._inside is not None  # noqa: S101 - only called inside session()
        return self._inside


class _Borrowed:
    """A thread whose registers are ours for a while."""

    def __init__(
        self, debugger: Debugger, arch: Arch, instruction: int, way_home: int | None
    ) -> None:
        self.arch = arch
        self.instruction = instruction
        self.way_home = way_home
        """Address of a return instruction."""
        self._debugger = debugger
        self._thread = debugger.selected_thread()
        self._frame = debugger.selected_frame_level()
        self._signal = debugger.hold_signal()
        self._saved = debugger.save_registers(arch.saved_registers)
        self.dropped: str | None = None
        """A signal that the thread is not to have."""

    def run(self, registers: Mapping[str, int]) -> int:
        """Step one system call instruction; return the call's result, signed."""
        arch, debugger = self.arch, self._debugger
        start = registers[arch.pc]
        stop: Stop | None = None
        for _ in range(ATTEMPTS):
            if stop is None or stop.reason == "signal":
                # Also again after a signal: it may have moved the thread into a handler's
                # frame only if it was delivered, and held it is not.
                debugger.write_registers(registers)
            stop = debugger.step_instruction()
            if stop.reason == "exited":
                raise InjectionError("The inferior ended during a system call made in it")
            after = debugger.read_registers((arch.pc, arch.result_register))
            if after[arch.pc] == start + len(arch.syscall_instruction):
                result = after[arch.result_register]
                result = result - 2**64 if result >= 2**63 else result
                if result not in RESTARTS:
                    return result
                # A signal cut it short: the registers say what to call, once more.
                debugger.write_registers(registers)
            unwanted = self.dropped is not None and stop.signal == self.dropped
            if stop.signal in FAULTS or (unwanted and not debugger.signal_is_foreign()):
                debugger.discard_signal()
            else:
                self._signal = debugger.hold_signal(self._signal)
        raise InjectionError(
            f"Thread {self._thread.tid} did not run a system call in {ATTEMPTS} attempts",
            hint="let it run for a moment, or select another thread",
        )

    def give_back(self) -> None:
        """Restore the thread to the state it was borrowed in."""
        debugger = self._debugger
        with contextlib.suppress(Exception):
            # Gone with the inferior, which is what the caller already hears of.
            if debugger.selected_thread().tid != self._thread.tid:
                debugger.select_thread(self._thread)
        self._land()
        debugger.restore_registers(self._saved)
        debugger.release_signal(self._signal)
        debugger.select_frame_level(self._frame)

    def _land(self) -> None:
        """Make the thread's last step end where it was borrowed, if a breakpoint is there.

        A debugger goes on from a breakpoint without hitting it again only where it saw
        the thread stop there, and it saw ours stop in the [vdso]. So one more step is
        made: a return, by a word below the stack.
        """
        arch, debugger = self.arch, self._debugger
        home = self._saved.values[arch.pc]
        with debugger.without_breakpoints(home) as any_there:
            if not any_there or self.way_home is None:
                return
            word = (self._saved.values[arch.stack_register] - 2 * arch.red_zone) & ~7
            with contextlib.suppress(RangeError, InjectionError):
                before = debugger.read_memory(word, 8)
                debugger.write_memory(word, home.to_bytes(8, "little"))
                try:
                    debugger.write_registers({arch.stack_register: word, arch.pc: self.way_home})
                    stop = debugger.step_instruction()
                    if stop.signal in FAULTS:
                        debugger.discard_signal()
                    else:
                        self._signal = debugger.hold_signal(self._signal)
                finally:
                    debugger.write_memory(word, before)


def failure(name: str, number: int) -> InjectionError:
    """Return the error of a system call that failed in the inferior."""
    import errno

    error = InjectionError(
        f"{name} failed in the inferior: {errno.errorcode.get(number, number)} "
        f"({os.strerror(number)})"
    )
    error.errno = number
    return error


def _find_instructions(
    debugger: Debugger, inferior: Inferior, arch: Arch
) -> tuple[int, int | None]:
    """Return the addresses of a system call and a return instruction in the [vdso]."""
    pid = inferior.pid
    vdso = procfs.vdso_address(pid)
    key = (pid, procfs.start_time(pid), vdso or 0)
    if key in _instructions:
        return _instructions[key]
    for mapping in procfs.mappings(pid):
        if mapping.path != "[vdso]":
            continue
        content = debugger.read_memory(mapping.start, mapping.length)
        offset = content.find(arch.syscall_instruction)
        if offset < 0:
            break
        back = content.find(arch.return_instruction, offset)
        _instructions.clear()
        _instructions[key] = (
            mapping.start + offset,
            mapping.start + back if back >= 0 else None,
        )
        return _instructions[key]
    raise UnsupportedError(
        f"Process {pid} has no [vdso] with a system call instruction",
        hint="pagezap needs a kernel started without vdso=0",
        kind="no-vdso",
    )
