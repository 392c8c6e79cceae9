"""The debugger protocol in gdb, from 13 on. Imported inside gdb only."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import gdb

from pagezap.debugger import procfs
from pagezap.debugger.api import Inferior, Location, SavedRegisters, Stop, Thread, Value
from pagezap.debugger.backends import gdb_alone, gdb_front_end, gdb_language, gdb_values
from pagezap.debugger.backends.gdb_events import Events, thread_of
from pagezap.debugger.backends.gdb_execute import execute
from pagezap.debugger.backends.gdb_signals import Signals, StopCatch, all_stopping, is_foreign
from pagezap.debugger.backends.gdb_target import check_live_and_local
from pagezap.debugger.backends.gdb_values import WORD, words_of
from pagezap.debugger.errors import (
    InjectionError,
    NoInferiorError,
    RangeError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from pagezap.debugger.api import CommandSpec, Listener
    from pagezap.debugger.backends.gdb_signals import Held
    from pagezap.debugger.backends.gdb_stepping import Stepping


class GdbDebugger:
    """See Debugger. There is one of it in a gdb."""

    name = "gdb"

    def __init__(self) -> None:
        """Connect to gdb's events."""
        self._signals = Signals()
        self._catch = StopCatch()
        self._events = Events(self._signals, self._catch)
        self._stepping: Stepping | None = None
        self._typed = True

    # -- the inferior ------------------------------------------------------------
    def inferior(self) -> Inferior:
        """See Debugger."""
        native = gdb.selected_inferior()
        check_live_and_local(native)
        return Inferior(native.pid, procfs.process_bits(native.pid), procfs.machine(native.pid))

    def pid(self) -> int:
        """See Debugger."""
        return int(gdb.selected_inferior().pid)

    def threads(self) -> Sequence[Thread]:
        """See Debugger."""
        natives = sorted(gdb.selected_inferior().threads(), key=lambda each: each.num)
        return [thread_of(each) for each in natives]

    def thread_handles(self) -> Sequence[int]:
        """See Debugger. gdb has handles only of threads that libthread_db told it of."""
        found = []
        for native in gdb.selected_inferior().threads():
            with contextlib.suppress(RuntimeError):  # not always a gdb.error
                found.append(int.from_bytes(native.handle(), sys.byteorder))
        return found

    def selected_thread(self) -> Thread:
        """See Debugger."""
        native = gdb.selected_thread()
        if native is None:
            raise NoInferiorError("There is no live process", hint="attach to one or run a program")
        return thread_of(native)

    def select_thread(self, thread: Thread) -> None:
        """See Debugger."""
        for native in gdb.selected_inferior().threads():
            if thread_of(native).tid == thread.tid:
                native.switch()
                return
        raise NoInferiorError(f"Thread {thread.number} is gone", kind="gone")

    def selected_frame_level(self) -> int:
        """See Debugger."""
        return int(gdb.selected_frame().level())

    def select_frame_level(self, level: int) -> None:
        """See Debugger."""
        frame = gdb.newest_frame()
        for _ in range(level):
            older = frame.older()
            if older is None:
                break
            frame = older
        frame.select()

    def check_modes(self, *, stops: bool) -> None:
        """See Debugger. gdb waits for no step of ours where the user's command is in the
        background; in non-stop mode it holds no other threads."""
        if gdb.parameter("non-stop"):
            raise UnsupportedError(
                "pagezap does not work in gdb's non-stop mode",
                hint="set non-stop off, before the program is started",
                kind="non-stop",
            )
        if any(each.is_running() for each in gdb.selected_inferior().threads()):
            raise UnsupportedError(
                "The program is running", hint="interrupt stops it", kind="running"
            )
        if stops and gdb.parameter("mi-async"):
            raise UnsupportedError(
                "No watch can stop the program while mi-async is on",
                hint="-gdb-set mi-async off before it is started; uffd-watch --trace never stops",
                kind="async",
            )

    # -- memory, registers -------------------------------------------------------
    def read_memory(self, address: int, length: int) -> bytes:
        """See Debugger."""
        try:
            return bytes(gdb.selected_inferior().read_memory(address, length))
        except (gdb.error, OverflowError, ValueError) as error:
            raise RangeError(
                f"Memory at {address:#x} cannot be read ({words_of(error)})", kind="unreadable"
            ) from error

    def write_memory(self, address: int, data: bytes) -> None:
        """See Debugger."""
        try:
            gdb.selected_inferior().write_memory(address, data)
        except (gdb.error, OverflowError, ValueError) as error:
            raise RangeError(
                f"Memory at {address:#x} cannot be written ({words_of(error)})", kind="unwritable"
            ) from error

    def read_registers(self, names: Sequence[str]) -> dict[str, int]:
        """See Debugger."""
        try:
            return {name: _register(name) for name in names}
        except (gdb.error, ValueError) as error:
            raise InjectionError(f"Registers cannot be read ({words_of(error)})") from error

    def write_registers(self, values: Mapping[str, int]) -> None:
        """See Debugger."""
        try:
            gdb.newest_frame().select()
            for name, value in values.items():
                self._write_register(name, value)
        except gdb.error as error:
            raise InjectionError(f"Registers cannot be written ({words_of(error)})") from error

    @staticmethod
    def _write_register(name: str, value: int) -> None:
        with contextlib.suppress(gdb.error):
            gdb.parse_and_eval(f"${name}={value:#x}")
            if _register(name) == value & WORD:
                return
        # Ada and Pascal write an assignment in another way.
        gdb_language.assign(f"${name}", f"{value:#x}")
        if _register(name) != value & WORD:
            raise InjectionError(f"Register {name} cannot be written")

    def save_registers(self, names: Sequence[str]) -> SavedRegisters:
        """See Debugger."""
        return SavedRegisters(self.read_registers(names))

    def restore_registers(self, saved: SavedRegisters) -> None:
        """See Debugger. Together: what the kernel restarts is decided by all of them."""
        now = self.read_registers(list(saved.values))
        before = saved.values
        self.write_registers({name: before[name] for name in now if now[name] != before[name]})

    def step_instruction(self) -> Stop:
        """See Debugger."""
        return self._step()

    def _step(self) -> Stop:
        tid = self.selected_thread().tid
        self._signals.forget_one(tid)
        with self._events.ours():
            try:
                with gdb_alone.alone(), gdb_alone.unnoticed():
                    gdb_front_end.pass_result_on(execute("stepi"))
            except gdb.error as error:
                raise InjectionError(f"A thread cannot be stepped ({words_of(error)})") from error
            stop = self._events.last_stop()
        if stop.reason != "step":
            self._events.unshown = stop if stop.reason in {"signal", "breakpoint"} else None
        return stop

    def without_breakpoints(self, address: int) -> AbstractContextManager[bool]:
        """See Debugger."""
        return gdb_alone.without_breakpoints(address)

    def resume_silently(self) -> Stop:
        """See Debugger."""
        if self._events.interrupts.taken():
            return self._events.interrupt()
        return self._stepping.go_on(self._run) if self._stepping else self._run("continue")

    def _run(self, command: str) -> Stop:
        with self._events.ours():
            self._signals.forget()
            try:
                with self._events.interrupts.passed_on():
                    text = execute(command)
            except gdb.error as error:
                raise InjectionError(f"The inferior cannot go on ({words_of(error)})") from error
            stop = self._events.last_stop()
            gdb_front_end.pass_stop_on(text, stop)
            return stop

    # -- signals -----------------------------------------------------------------
    def discard_signal(self) -> None:
        """See Debugger."""
        self._events.moved = True
        self._signals.discard(self.selected_thread().tid)

    def signal_is_foreign(self) -> bool:
        """See Debugger."""
        return is_foreign()

    def stopping_at_signals(self) -> AbstractContextManager[None]:
        """See Debugger."""
        return all_stopping()

    def hold_signal(self, held: object = None) -> object:
        """See Debugger."""
        mine: Held | None = held  # type: ignore[assignment]
        return self._signals.hold(self.selected_thread().tid, mine)

    def release_signal(self, held: object) -> None:
        """See Debugger."""
        if held is not None:
            mine: Held = held  # type: ignore[assignment]
            thread = self.selected_thread()
            self._signals.release(gdb.selected_inferior().pid, thread.tid, mine)

    def arm_stop_signal(self) -> None:
        """See Debugger."""
        from pagezap.debugger.backends.gdb_stepping import Stepping

        self._catch.arm()
        self._events.watch_image()
        if self._stepping is None:
            self._stepping = Stepping(self._events)
            self._events.at_end = self._stepping.forget
        self._stepping.arm()

    def disarm_stop_signal(self) -> None:
        """See Debugger."""
        self._catch.disarm()
        if self._stepping is not None:
            self._stepping.disarm()

    # -- expressions, symbols ------------------------------------------------------
    def evaluate(self, expression: str) -> Value:
        """See Debugger."""
        return gdb_values.evaluate(expression)

    def is_true(self, expression: str) -> bool:
        """See Debugger."""
        return gdb_values.is_true(expression)

    def locate(self, pc: int) -> Location:
        """See Debugger."""
        from pagezap.debugger.backends import gdb_symbols

        return gdb_symbols.locate(pc)

    def symbol_address(self, name: str) -> int | None:
        """See Debugger."""
        from pagezap.debugger.backends import gdb_symbols

        return gdb_symbols.symbol_address(name)

    def name_address(self, address: int) -> str | None:
        """See Debugger."""
        from pagezap.debugger.backends import gdb_symbols

        return gdb_symbols.name_address(address)

    def frame_line(self) -> str:
        """See Debugger."""
        from pagezap.debugger.backends import gdb_symbols

        return gdb_symbols.frame_line()

    def print_frame(self) -> None:
        """See Debugger."""
        from pagezap.debugger.backends import gdb_symbols

        gdb.write(gdb_symbols.frame_text())

    # -- the user --------------------------------------------------------------
    def write(self, text: str) -> None:
        """See Debugger."""
        gdb.write(text)

    def warn(self, text: str) -> None:
        """See Debugger."""
        gdb.write(text, gdb.STDERR)

    def confirm(self, question: str) -> bool:
        """See Debugger."""
        if not self.interactive() or not gdb.parameter("confirm"):
            return True
        while True:
            gdb.flush()
            try:
                answer = input(f"{question} (y or n) ").strip().lower()
            except EOFError:
                return True
            if answer[:1] in {"y", "n"}:
                return answer[0] == "y"
            gdb.write("Please answer y or n.\n")

    def uninterrupted(self) -> AbstractContextManager[None]:
        """See Debugger."""
        return self._events.interrupts.put_off()

    def interactive(self) -> bool:
        """See Debugger. gdb says of each command whether it was typed."""
        return self._typed and os.isatty(0)

    def set_convenience(self, name: str, value: int) -> None:
        """See Debugger."""
        gdb.set_convenience_variable(name, value)

    def complete_symbol(self, word: str) -> Sequence[str]:
        """See Debugger."""
        from pagezap.debugger.backends import gdb_symbols

        return gdb_symbols.complete(word)

    # -- life cycle ----------------------------------------------------------------
    def add_command(self, spec: CommandSpec) -> None:
        """See Debugger."""
        from pagezap.debugger.backends import gdb_commands

        gdb_commands.add(spec, self._entering)

    def _entering(self, typed: bool) -> None:
        self._typed = typed
        self._events.interrupts.begin()

    def set_listener(self, listener: Listener) -> None:
        """See Debugger."""
        self._events.listener = listener

    def about_to_release(self) -> None:
        """Tell the listener that the selected inferior is about to be let go."""
        self._events.releasing()

    def serve(self) -> None:
        """Tell the listener of the stop at our catchpoint."""
        self._events.serve()

    def about_to_save(self) -> None:
        """Keep our catchpoint out of what gdb saves."""
        self._catch.step_aside()

    def about_to_run(self, command: str) -> None:
        """Remember the user's command, to carry it over what is not reported."""
        if self._stepping is not None:
            self._stepping.begins(command)


def _register(name: str) -> int:
    return int(gdb.newest_frame().read_register(name)) & WORD
