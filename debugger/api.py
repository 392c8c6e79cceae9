"""The protocol that each debugger backend implements.

Nothing in this file knows a particular debugger. Objects returned by a backend
are plain values; a backend never hands out its debugger's own objects.
All addresses and sizes are bytes, thread ids are kernel tids (of the debugger's
pid namespace).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager


class Inferior(NamedTuple):
    """The process under the debugger."""

    pid: int
    bits: int
    """Word size of its architecture: 64 or 32."""
    machine: str
    """The architecture's name as uname(2) has it: ``x86_64``, ``aarch64``."""


class Thread(NamedTuple):
    """One thread of the inferior."""

    number: int
    """The debugger's own number for it."""
    tid: int
    label: str = ""
    """What the debugger calls it where the number alone would be ambiguous."""

    @property
    def name(self) -> str:
        """How a person is told of it."""
        return self.label or str(self.number)


class Location(NamedTuple):
    """Where a program counter is, as far as symbols tell."""

    pc: int
    function: str | None = None
    offset: int = 0
    """Bytes from the start of ``function``."""
    file: str | None = None
    line: int | None = None

    def symbol(self) -> str | None:
        """Return ``function+offset``, ``function`` at offset 0, or None without symbols."""
        if self.function is None:
            return None
        return f"{self.function}+{self.offset}" if self.offset else self.function


class Value(NamedTuple):
    """What an expression evaluated to."""

    address: int | None
    """Address of the object, None where it has none (a register, a constant)."""
    size: int
    """``sizeof`` the object's type, in bytes."""
    type_name: str
    number: int | None
    """The value as an integer, for pointers and integers, else None."""
    is_pointer: bool = False


class SavedRegisters(NamedTuple):
    """What a thread had before it was borrowed."""

    values: Mapping[str, int]
    token: object = None
    """What the backend keeps beside."""


class Stop(NamedTuple):
    """Why the inferior stopped, as the debugger reports it."""

    reason: str
    """``signal``, ``breakpoint``, ``exited``, ``step`` or ``other``."""
    signal: str | None = None
    """The signal's name (``SIGSTOP``) where ``reason`` is ``signal``."""
    thread: Thread | None = None
    breakpoints: Sequence[int] = ()
    temporary: bool = False
    """Whether one of the breakpoints was for one stop only, and is gone."""
    exit_code: int | None = None
    pinned: bool = False
    """Whether nothing can be stepped or resumed before the user goes on: it came in a function
    that the debugger called in the inferior, or in the background."""


class CommandSpec(NamedTuple):
    """What a backend needs to register one command with its debugger."""

    name: str
    help: str
    invoke: Callable[[str], None]
    """Runs the command on the raw argument string. Raises PagezapError on failure;
    the backend turns that into the debugger's own failure."""
    complete: Callable[[str, str], Sequence[str]]
    """``(text, word)`` to the completions of ``word``, as gdb's Command.complete has it."""


class Debugger(Protocol):
    """A debugger with an inferior, as pagezap needs it."""

    name: str
    """``gdb`` or ``lldb``."""

    # -- the inferior ------------------------------------------------------------
    def inferior(self) -> Inferior:
        """Return the live, local inferior. Raises NoInferiorError with the cause:
        none, only a core file, on another machine."""

    def pid(self) -> int:
        """Return the inferior's process, 0 where there is none, whatever it is."""

    def threads(self) -> Sequence[Thread]:
        """Return the inferior's threads, in the debugger's order."""

    def thread_handles(self) -> Sequence[int]:
        """Return each thread's pthread_t where the debugger uses a thread library.

        With glibc it is the address of the thread's control block, which that library
        reads at every stop, before anybody hears of the stop.
        """

    def selected_thread(self) -> Thread:
        """Return the thread that is selected. Raises NoInferiorError."""

    def select_thread(self, thread: Thread) -> None:
        """Select a thread."""

    def selected_frame_level(self) -> int:
        """Return the number of the selected frame, 0 for the innermost."""

    def select_frame_level(self, level: int) -> None:
        """Select a frame of the selected thread by its number."""

    def check_modes(self, *, stops: bool) -> None:
        """Refuse a state or setting in which no session can be set up, or with ``stops`` none
        that stops at accesses. Raises UnsupportedError."""

    # -- memory, registers -------------------------------------------------------
    def read_memory(self, address: int, length: int) -> bytes:
        """Read from the stopped inferior. Raises RangeError where it cannot be read."""

    def write_memory(self, address: int, data: bytes) -> None:
        """Write into the stopped inferior. Raises RangeError where it cannot be written."""

    def read_registers(self, names: Sequence[str]) -> dict[str, int]:
        """Return the named registers of the selected thread's innermost frame, unsigned."""

    def write_registers(self, values: Mapping[str, int]) -> None:
        """Set registers of the selected thread's innermost frame, in the order given."""

    def save_registers(self, names: Sequence[str]) -> SavedRegisters:
        """Keep the selected thread's named registers, and what the kernel is to restart."""

    def restore_registers(self, saved: SavedRegisters) -> None:
        """Give the selected thread back what ``save_registers`` kept, all of it together."""

    def step_instruction(self) -> Stop:
        """Run one instruction of the selected thread, all others held, printing nothing.

        Return why it stopped: ``step`` where the instruction ran; ``signal`` where a
        signal came first, which is then the thread's and not lost.
        """

    def without_breakpoints(self, address: int) -> AbstractContextManager[bool]:
        """Disable the breakpoints at an address for the body; False where there is none."""

    def discard_signal(self) -> None:
        """Forget the signal that stopped the selected thread: it is not delivered."""

    def signal_is_foreign(self) -> bool:
        """Return whether the selected thread's stop signal was sent by a third process:
        neither the debugger itself, nor a pagezap helper (si_code SI_QUEUE), nor unknown."""

    def stopping_at_signals(self) -> AbstractContextManager[None]:
        """Let every signal stop a thread that we step in the body, before the thread has it."""

    def hold_signal(self, held: object = None) -> object:
        """Take the signal at which the selected thread stands away, to be given back.

        Return what ``release_signal`` wants, None for no signal. ``held`` is what an
        earlier call returned, where another signal has come meanwhile.
        """

    def release_signal(self, held: object) -> None:
        """Let the selected thread have the held signal, as it was sent, when it resumes."""

    def resume_silently(self) -> Stop:
        """Go on with what the user runs (continue, next, finish, …) as if nothing had stopped
        it, and return at its end or at the next stop, whose print is the debugger's own."""

    # -- expressions, symbols ------------------------------------------------------
    def evaluate(self, expression: str) -> Value:
        """Evaluate in the selected frame's language. Raises UsageError with the
        debugger's own words on a bad expression, its kind ``no-symbol`` where a name in it
        is not known in that frame."""

    def is_true(self, expression: str) -> bool:
        """Return whether a number or pointer is not zero, evaluated as ``evaluate`` does.

        Raises UsageError, its kind ``no-scalar`` for a value of another type, ``optimized-out``
        for one that the program does not have there.
        """

    def locate(self, pc: int) -> Location:
        """Resolve a program counter to function, file and line."""

    def symbol_address(self, name: str) -> int | None:
        """Return where what the symbol table has under ``name`` is, whatever the language that
        the user has chosen; None where there is no such symbol."""

    def name_address(self, address: int) -> str | None:
        """Return the name of the data object at ``address`` (``table[513].next``,
        ``table+16``) or None."""

    def frame_line(self) -> str:
        """Return the selected thread's innermost frame in the debugger's one-line form,
        without number: ``insert (t=0x…, key=77) at table.c:41``."""

    def print_frame(self) -> None:
        """Show the selected frame as the debugger does at a stop."""

    # -- the user --------------------------------------------------------------
    def write(self, text: str) -> None:
        """Print ``text`` on the debugger's console."""

    def warn(self, text: str) -> None:
        """Print ``text`` beside what a command prints, as the debugger prints errors."""

    def confirm(self, question: str) -> bool:
        """Ask the user where the debugger asks (interactive, confirm on); else True."""

    def uninterrupted(self) -> AbstractContextManager[None]:
        """Keep Ctrl-C from the body, which must not be left half done; it comes at its end."""

    def interactive(self) -> bool:
        """Return whether a person is at the prompt."""

    def set_convenience(self, name: str, value: int) -> None:
        """Set a convenience variable where the debugger has them."""

    def complete_symbol(self, word: str) -> Sequence[str]:
        """Return symbols that begin with ``word``, a hundred at most."""

    # -- life cycle ----------------------------------------------------------------
    def add_command(self, spec: CommandSpec) -> None:
        """Register a command."""

    def set_listener(self, listener: Listener) -> None:
        """Name the one object that is told of stops, resumes and ends."""

    def arm_stop_signal(self) -> None:
        """Prepare the debugger for the helper's SIGSTOP: quiet stop, never passed on."""

    def disarm_stop_signal(self) -> None:
        """Undo ``arm_stop_signal``."""


class Listener(Protocol):
    """What hears of the inferior's state from a backend."""

    def stopped(self, stop: Stop) -> None:
        """Hear that every thread has stopped; step_instruction() and resume_silently()
        may be called from here and do not come back to this method."""

    def resuming(self, pids: Collection[int]) -> None:
        """Hear which inferiors are about to run; every thread is still stopped."""

    def calling(self) -> None:
        """Hear that the debugger is about to call a function in the current inferior: it runs
        without a ``resuming``."""

    def called(self) -> None:
        """Hear that the function has returned, or was left by a ``stopped``."""

    def exited(self, pid: int) -> None:
        """Hear that the inferior ended (exit, signal, kill) or was exchanged by exec."""

    def releasing(self, *, ending: bool = False) -> None:
        """Hear that the debugger is about to let the inferior go. Where it is ``ending``
        (quit, its terminal or itself is gone) no thread can be stepped any more."""
