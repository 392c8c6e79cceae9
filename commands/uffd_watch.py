"""``uffd-watch``: watch any number of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.commands.framework.options import ONE_RANGE_OPTION, Operands, Option
from pagezap.debugger.errors import PagezapError, UnsupportedError, UsageError

PAGE = 4096
THREAD_DATA = 4096
"""Bytes from a pthread_t in which glibc has the area of rseq(2)."""

if TYPE_CHECKING:
    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.memory.target import Target
    from pagezap.commands.session.context import Context
    from pagezap.commands.session.watches import Watch


class WatchResult(Result):
    """The watch that was made."""

    def __init__(self, watch: Watch, note: str) -> None:
        """Show ``watch``, and a note on it where there is one."""
        self._watch = watch
        self._note = note

    def json(self) -> dict[str, object]:
        """Return the keys that commands.md fixes."""
        from pagezap.commands.memory.watching import body

        return {"watch": body(self._watch), "note": self._note or None}

    def text(self) -> str:
        """Return the line that gdb's own watch prints, in our words."""
        watch = self._watch
        kind = "trace" if watch.mode == "trace" else "watch"
        note = f"\n{self._note}" if self._note else ""
        return f"Uffd {kind}point {watch.id}: {watch.text}{note}"


class UffdWatch(Command):
    """Watches a range of memory."""

    name = "uffd-watch"
    summary = "Watch any number of bytes for accesses"
    description = """\
Stops the inferior at each write to the range, whoever makes it: a thread, with the
program counter at the instruction after the write, or a system call. Bytes outside
the range never stop it. With --trace accesses are recorded (see uffd-trace) and the
inferior never stops; after a record its page goes unrecorded for a few milliseconds.

A condition with blanks in it is written in quotes or parentheses. It is a number or
a pointer, evaluated at each hit in the frame of the access; $_uffd_watch and
$_uffd_addr hold the hit. Where that fails the hit is reported."""
    options = (
        Option("write", "writes; the default"),
        Option("read", "reads"),
        Option("access", "reads and writes"),
        Option("trace", "record accesses, never stop"),
        Option(
            "condition", "count only hits where EXPR is not zero", metavar="EXPR", complete="symbol"
        ),
        Option("thread", "count only hits of thread N, the debugger's number", metavar="N"),
        Option("ignore", "pass over the first N hits", metavar="N"),
        Option("temporary", "delete the watch at its first stop"),
        ONE_RANGE_OPTION,
    )
    operands = Operands("RANGE", ranges=True, required=True, many=False, complete="symbol")
    examples = (
        ("uffd-watch table", "stops at each write to any byte of the object"),
        ("uffd-watch --condition (n>3) buf, +1G", "a gigabyte, where n is greater than 3"),
        ("uffd-watch --trace [heap]", "records who writes to the heap"),
    )

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Check everything, then arm the watch."""
        from pagezap.commands.memory.scene import Scene

        _check_kind(arguments)
        ignore = _number(arguments, "ignore", least=0)
        thread = _number(arguments, "thread", least=1)
        trace = arguments.flag("trace")
        condition = arguments.value("condition")
        if trace and (
            condition is not None
            or thread is not None
            or ignore is not None
            or arguments.flag("temporary")
        ):
            raise UsageError(
                "--trace records every access",
                hint="--condition, --thread, --ignore and --temporary are for watches that stop",
                kind="conflicting-options",
            )
        scene = Scene(context)
        targets = scene.targets(arguments.ranges, rounding="exact", purpose="uffd-watch")
        target = targets[0]
        if len(targets) != 1 or (target.gathered and len(target.pieces) != 1):
            raise UsageError(
                f"{arguments.ranges[0]} is more than one range",
                hint="Watch one mapping at a time; pagemap-show lists them",
                kind="extra-argument",
            )
        _check_memory(target, ours=scene.session is not None)
        if thread is not None:
            _check_thread(context, thread)
        notes = [_note_on_threads(context, target)]
        if condition is not None:
            notes.append(_check_condition(context, condition))
        if not trace:
            context.debugger.check_modes(stops=True)
        session = scene.require_session()
        with session.hidden():
            watch = session.watches.create(
                start=target.start,
                length=target.length,
                kind="write",
                mode="trace" if trace else "stop",
                text=target.text,
                condition=condition,
                thread=thread,
                ignore=ignore or 0,
                temporary=arguments.flag("temporary"),
            )
        return WatchResult(watch, "\n".join(filter(None, notes)))


def _note_on_threads(context: Context, target: Target) -> str:
    """Say where a thread's own data lie, which the kernel writes to; see rseq(2).

    It does so whenever the thread was preempted, and the page is open for a while then.
    """
    first, last = target.start // PAGE, (target.start + target.length - 1) // PAGE
    for handle in context.debugger.thread_handles():
        if first <= (handle + THREAD_DATA) // PAGE and handle // PAGE <= last:
            return (
                "Note: a thread's own data lie on a page of it, which the kernel writes to often: "
                "most writes of the program there go unreported. "
                "Start it with GLIBC_TUNABLES=glibc.pthread.rseq=0 to have them all"
            )
    return ""


def _check_memory(target: Target, *, ours: bool) -> None:
    """Refuse memory that cannot be watched; name the part that can."""
    from pagezap.commands.memory import hazards
    from pagezap.commands.memory.text import span

    good = [piece for piece in target.pieces if not hazards.of_watch(piece, ours=ours)]
    for piece in target.pieces:
        try:
            hazards.refuse(hazards.of_watch(piece, ours=ours), force=False)
        except UnsupportedError as error:
            if good:
                start = max(target.start, good[0].start)
                end = min(target.start + target.length, good[0].end)
                error.hint = f"The part {span(start, end - start)} can be watched"
            raise


def _check_kind(arguments: Arguments) -> None:
    kinds = [kind for kind in ("write", "read", "access") if arguments.flag(kind)]
    if len(kinds) > 1:
        raise UsageError(
            f"--{kinds[0]} and --{kinds[1]} exclude each other",
            hint="--access means both reads and writes",
            kind="conflicting-options",
        )
    if kinds and kinds[0] != "write":
        raise UnsupportedError(
            f"--{kinds[0]} is not there yet: only writes can be watched",
            hint="Leave it out to watch writes; the debugger's rwatch and awatch take a few bytes",
        )


def _number(arguments: Arguments, name: str, *, least: int) -> int | None:
    text = arguments.value(name)
    if text is None:
        return None
    try:
        number = int(text, 0)
    except ValueError:
        number = least - 1
    if number < least:
        raise UsageError(
            f"--{name} cannot be {text}", hint=f"It is a number from {least} on", kind="bad-value"
        )
    return number


def _check_thread(context: Context, number: int) -> None:
    known = [thread.number for thread in context.debugger.threads()]
    if number not in known:
        raise UsageError(
            f"There is no thread {number}",
            hint=f"Threads are {', '.join(map(str, sorted(known)))}",
            kind="no-such-thread",
        )


def _check_condition(context: Context, condition: str) -> str:
    """Refuse a condition that is wrong; return a note on one with a name unknown here.

    It may be a variable of the function that makes the access, or have a value only there.
    """
    try:
        context.debugger.is_true(condition)
    except PagezapError as error:
        if error.kind in {"no-symbol", "optimized-out"}:
            return f"{error.message}: the condition is tried at each hit"
        raise UsageError(
            f"Condition {condition}: {error.message}",
            hint="It is evaluated in the selected frame now and in the accessing frame at a hit",
            kind="bad-condition",
        ) from error
    return ""
