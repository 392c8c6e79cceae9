"""The debugger protocol in lldb, from 19 on. Imported inside lldb, or beside it in Python.

So far for single commands: a session has to hear of stops and resumes, which lldb tells a
script by a stop hook and by its log.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, cast

import lldb

from pagezap.debugger import procfs
from pagezap.debugger.api import Inferior, SavedRegisters, Stop, Thread
from pagezap.debugger.backends.lldb_target import alive, check_live_and_local
from pagezap.debugger.errors import (
    InjectionError,
    NoInferiorError,
    RangeError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pagezap.debugger.api import CommandSpec, Listener, Location, Value

NAMES = {"eflags": "rflags"}
"""What lldb calls registers that have another name in gdb."""
HIDDEN = frozenset({"orig_rax"})
"""Registers that lldb-server does not show, and saves and restores all the same."""


class LldbDebugger:
    """See Debugger. There is one of it for each SBDebugger."""

    name = "lldb"

    def __init__(self, native: Any) -> None:
        """Work in ``native``, an SBDebugger."""
        self.native = native
        self.output: list[str] | None = None
        """Takes what a command prints, while one runs."""

    # -- the inferior ------------------------------------------------------------
    def inferior(self) -> Inferior:
        """See Debugger."""
        pid = check_live_and_local(self._process())
        return Inferior(pid, procfs.process_bits(pid), procfs.machine(pid))

    def pid(self) -> int:
        """See Debugger."""
        process = self._process()
        return int(process.GetProcessID()) if alive(process) else 0

    def _process(self) -> Any:
        return self.native.GetSelectedTarget().GetProcess()

    def _thread(self) -> Any:
        native = self._process().GetSelectedThread()
        if not native.IsValid():
            raise NoInferiorError("There is no live process", hint="attach to one or run a program")
        return native

    def _newest(self) -> Any:
        return self._thread().GetFrameAtIndex(0)

    def threads(self) -> Sequence[Thread]:
        """See Debugger."""
        return [_thread_of(each) for each in self._process()]

    def thread_handles(self) -> Sequence[int]:
        """See Debugger. lldb uses no thread library."""
        return ()

    def selected_thread(self) -> Thread:
        """See Debugger."""
        return _thread_of(self._thread())

    def select_thread(self, thread: Thread) -> None:
        """See Debugger."""
        if not self._process().SetSelectedThreadByID(thread.tid):
            raise NoInferiorError(f"Thread {thread.number} is gone", kind="gone")

    def selected_frame_level(self) -> int:
        """See Debugger."""
        return int(self._thread().GetSelectedFrame().GetFrameID())

    def select_frame_level(self, level: int) -> None:
        """See Debugger."""
        self._thread().SetSelectedFrame(level)

    def check_modes(self, *, stops: bool) -> None:
        """See Debugger."""
        del stops
        if self._process().GetState() != lldb.eStateStopped:
            raise UnsupportedError(
                "The program is running", hint="process interrupt stops it", kind="running"
            )
        raise UnsupportedError(
            "pagezap does not keep, fill or watch in lldb yet", hint="In gdb it does"
        )

    # -- memory, registers -------------------------------------------------------
    def read_memory(self, address: int, length: int) -> bytes:
        """See Debugger. From the kernel: what lldb has in its cache may be gone."""
        with self._memory(os.O_RDONLY, "read") as memory:
            data = os.pread(memory, length, address)
            if len(data) < length:
                raise OSError(f"it ends at {address + len(data):#x}")
            return data

    def write_memory(self, address: int, data: bytes) -> None:
        """See Debugger."""
        with self._memory(os.O_RDWR, "written") as memory:
            if os.pwrite(memory, data, address) < len(data):
                raise OSError("it ends amid the range")

    @contextlib.contextmanager
    def _memory(self, how: int, what: str) -> Iterator[int]:
        """Open /proc/PID/mem; see proc(5)."""
        verb, kind = ("read", "unreadable") if what == "read" else (what, "unwritable")
        try:
            memory = os.open(f"/proc/{procfs.living(self.pid())}/mem", how)
            try:
                yield memory
            finally:
                os.close(memory)
        except (OSError, OverflowError) as error:
            raise RangeError(f"Memory cannot be {verb} ({error})", kind=kind) from error

    def read_registers(self, names: Sequence[str]) -> dict[str, int]:
        """See Debugger."""
        frame = self._newest()
        found = {name: frame.FindRegister(NAMES.get(name, name)) for name in names}
        wrong = [name for name, value in found.items() if not value.IsValid()]
        if wrong:
            raise InjectionError(f"Register {wrong[0]} cannot be read")
        return {name: int(value.GetValueAsUnsigned()) for name, value in found.items()}

    def write_registers(self, values: Mapping[str, int]) -> None:
        """See Debugger."""
        for name, value in values.items():
            if name in HIDDEN:
                continue
            frame = self._newest()
            error = lldb.SBError()
            register = frame.FindRegister(NAMES.get(name, name))
            if not register.SetValueFromCString(f"{value:#x}", error):
                raise InjectionError(f"Register {name} cannot be written ({error.GetCString()})")

    def save_registers(self, names: Sequence[str]) -> SavedRegisters:
        """See Debugger. lldb-server takes the thread for in no system call from here on."""
        thread = self._thread()
        values = self.read_registers([name for name in names if name not in HIDDEN])
        token = self._packet(f"QSaveRegisterState;thread:{thread.GetThreadID():x};")
        if not token.isdigit():
            raise InjectionError(f"lldb-server cannot save registers ({token or 'no answer'})")
        return SavedRegisters(values, (token, thread.GetFrameAtIndex(0).GetPC()))

    def restore_registers(self, saved: SavedRegisters) -> None:
        """See Debugger."""
        thread = self._thread()
        token, pc = cast("tuple[str, int]", saved.token)
        text = f"QRestoreRegisterState:{token};thread:{thread.GetThreadID():x};"
        answer = self._packet(text)
        if answer != "OK":
            raise InjectionError(f"lldb-server cannot restore registers ({answer})")
        # By a command, lldb notices that what it remembers of the thread is old.
        frame = thread.GetFrameAtIndex(0)
        self._command(f"register write pc {pc:#x}", lldb.SBExecutionContext(frame))

    def _packet(self, text: str) -> str:
        """Send a packet to lldb-server and return its answer, empty where there is none."""
        for line in self._command(f"process plugin packet send '{text}'").splitlines():
            name, colon, answer = line.strip().partition(":")
            if colon and name == "response":
                return answer.strip()
        return ""

    def _command(self, text: str, context: Any = None) -> str:
        result = lldb.SBCommandReturnObject()
        interpreter = self.native.GetCommandInterpreter()
        where = context or lldb.SBExecutionContext(self._process())
        interpreter.HandleCommand(text, where, result, False)
        if not result.Succeeded():
            raise InjectionError(" ".join((result.GetError() or "").split()).rstrip("."))
        return result.GetOutput() or ""

    def step_instruction(self) -> Stop:
        """See Debugger."""
        native = self._thread()
        tid = native.GetThreadID()
        error = lldb.SBError()
        asynchronous = self.native.GetAsync()
        self.native.SetAsync(False)
        try:
            native.StepInstruction(False, error)
        finally:
            self.native.SetAsync(asynchronous)
        process = self._process()
        if process.GetState() == lldb.eStateExited:
            return Stop("exited", exit_code=process.GetExitStatus())
        if error.Fail():
            raise InjectionError(f"A thread cannot be stepped ({error.GetCString()})")
        process.SetSelectedThreadByID(tid)
        native = self._thread()
        thread = _thread_of(native)
        reason = native.GetStopReason()
        if reason == lldb.eStopReasonSignal:
            number = native.GetStopReasonDataAtIndex(0)
            name = process.GetUnixSignals().GetSignalAsCString(number)
            return Stop("signal", signal=name, thread=thread)
        if reason == lldb.eStopReasonBreakpoint:
            return Stop("breakpoint", thread=thread)
        return Stop("step", thread=thread)

    @contextlib.contextmanager
    def without_breakpoints(self, address: int) -> Iterator[bool]:
        """See Debugger. lldb steps off a breakpoint without hitting it again."""
        del address
        yield False

    def discard_signal(self) -> None:
        """See Debugger."""

    def signal_is_foreign(self) -> bool:
        """See Debugger."""
        return True

    def stopping_at_signals(self) -> contextlib.AbstractContextManager[None]:
        """See Debugger."""
        return contextlib.nullcontext()

    def hold_signal(self, held: object = None) -> object:
        """See Debugger. lldb delivers a thread's signal where the user goes on only."""
        return held

    def release_signal(self, held: object) -> None:
        """See Debugger."""

    def resume_silently(self) -> Stop:
        """See Debugger."""
        raise UnsupportedError("pagezap does not watch in lldb yet", hint="In gdb it does")

    # -- expressions, symbols ------------------------------------------------------
    def evaluate(self, expression: str) -> Value:
        """See Debugger."""
        from pagezap.debugger.backends import lldb_symbols

        return lldb_symbols.evaluate(self.native.GetSelectedTarget(), expression)

    def is_true(self, expression: str) -> bool:
        """See Debugger."""
        from pagezap.debugger.backends import lldb_symbols

        return lldb_symbols.is_true(self.native.GetSelectedTarget(), expression)

    def locate(self, pc: int) -> Location:
        """See Debugger."""
        from pagezap.debugger.backends import lldb_symbols

        return lldb_symbols.locate(self.native.GetSelectedTarget(), pc)

    def symbol_address(self, name: str) -> int | None:
        """See Debugger."""
        from pagezap.debugger.backends import lldb_symbols

        return lldb_symbols.symbol_address(self.native.GetSelectedTarget(), name)

    def name_address(self, address: int) -> str | None:
        """See Debugger."""
        from pagezap.debugger.backends import lldb_symbols

        return lldb_symbols.name_address(self.native.GetSelectedTarget(), address)

    def frame_line(self) -> str:
        """See Debugger."""
        from pagezap.debugger.backends import lldb_symbols

        return lldb_symbols.frame_line(self._newest())

    def print_frame(self) -> None:
        """See Debugger."""
        self.write(self.frame_line() + "\n")

    # -- the user --------------------------------------------------------------
    def write(self, text: str) -> None:
        """See Debugger."""
        if self.output is not None:
            self.output.append(text)
        else:
            self.native.GetOutputFile().Write(text.encode())
            self.native.GetOutputFile().Flush()

    def warn(self, text: str) -> None:
        """See Debugger."""
        self.native.GetErrorFile().Write(text.encode())
        self.native.GetErrorFile().Flush()

    def confirm(self, question: str) -> bool:
        """See Debugger."""
        if not self.interactive() or not _setting(self.native, "auto-confirm", "false"):
            return True
        answer = ""
        while answer not in {"y", "n"}:
            try:
                answer = input(f"{question} [y/n] ").strip().lower()[:1]
            except EOFError:
                return True
        return answer == "y"

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """See Debugger. lldb asks a command to end, and does not break it off."""
        yield

    def interactive(self) -> bool:
        """See Debugger."""
        return bool(self.native.GetCommandInterpreter().IsInteractive()) and os.isatty(0)

    def set_convenience(self, name: str, value: int) -> None:
        """See Debugger. lldb's variables are the inferior's, in its memory: none are made."""

    def complete_symbol(self, word: str) -> Sequence[str]:
        """See Debugger."""
        matches = lldb.SBStringList()
        line = f"image lookup -n {word}"
        self.native.GetCommandInterpreter().HandleCompletion(line, len(line), 0, 100, matches)
        return [each for each in matches if each.startswith(word)][:100]

    # -- life cycle ----------------------------------------------------------------
    def add_command(self, spec: CommandSpec) -> None:
        """See Debugger."""
        from pagezap.debugger.backends import lldb_commands

        lldb_commands.add(self, spec)

    def set_listener(self, listener: Listener) -> None:
        """See Debugger."""

    def arm_stop_signal(self) -> None:
        """See Debugger."""

    def disarm_stop_signal(self) -> None:
        """See Debugger."""


def _thread_of(native: Any) -> Thread:
    return Thread(int(native.GetIndexID()), int(native.GetThreadID()))


def _setting(native: Any, name: str, value: str) -> bool:
    found = lldb.SBDebugger.GetInternalVariableValue(name, native.GetInstanceName())
    return any(found.GetStringAtIndex(i) == value for i in range(found.GetSize()))
