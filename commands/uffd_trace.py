"""``uffd-trace``: the recorded accesses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.commands.framework.options import Operands, Option
from pagezap.commands.framework.scan import unquote
from pagezap.commands.memory.text import count
from pagezap.debugger.errors import PagezapError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.session.context import Context

VERBS = ("show", "clear", "export")
COLUMNS = (
    "time_us",
    "watch",
    "address",
    "access",
    "pid",
    "tid",
    "pc",
    "symbol",
    "syscall",
    "by",
    "stopped",
)


class TraceResult(Result):
    """The recorded accesses, in the order of their time."""

    def __init__(self, events: Sequence[dict[str, object]], dropped: int) -> None:
        """Show events as JSON has them."""
        self.events = events
        self.dropped = dropped

    def json(self) -> dict[str, object]:
        """Return the keys that commands.md fixes."""
        return {"events": list(self.events), "dropped": self.dropped}

    def text(self) -> str:
        """Return a line an event, times from the first on."""
        from pagezap.commands.memory.text import count, table

        if not self.events:
            return "No access is recorded" + (f"; {self.dropped} dropped" if self.dropped else "")
        begin = int(str(self.events[0]["time_us"]))
        rows = [("us", "watch", "address", "access", "thread", "by", "where")]
        for event in self.events:
            where = str(event["symbol"] or hex(int(str(event["pc"]))))
            if event["syscall"]:
                where = f"{event['syscall']}(2) at {where}"
            rows.append(
                (
                    str(int(str(event["time_us"])) - begin),
                    str(event["watch"]),
                    hex(int(str(event["address"]))),
                    str(event["access"]),
                    str(event["tid"]),
                    str(event["by"]),
                    where,
                )
            )
        lines = table(rows, right=(0, 1))
        if self.dropped:
            lines.append(f"{count(self.dropped, 'event')} dropped: the ring was full")
        return "\n".join(lines)


class DoneResult(Result):
    """What ``clear`` or ``export`` did."""

    def __init__(self, body: dict[str, object], text: str) -> None:
        """Show both renderings as given."""
        self._body = body
        self._text = text

    def json(self) -> dict[str, object]:
        """Return the figures."""
        return self._body

    def text(self) -> str:
        """Return the line."""
        return self._text


class UffdTrace(Command):
    """Shows, clears or exports the recorded accesses."""

    name = "uffd-trace"
    summary = "Show, clear or export the recorded accesses to watched memory"
    description = """\
show lists every hit of every watch, whether it stopped the inferior or not; export
writes the same to FILE. `access' is read, write or unknown, `syscall' the name of the
system call that made the access, and `by' who did: inferior, debugger, other-process.

The last 32768 accesses are kept, `dropped' counts the others. They can be read after the
program has exited, or was killed, detached or released, until a watch, zap or the like
begins a new session, or clear."""
    options = (Option("format", "of an export", metavar="csv|json", choices=("csv", "json")),)
    operands = Operands("FILE", leading=("show|clear|export",), many=False, complete="file")
    examples = (
        ("uffd-trace show", "lists the accesses"),
        ("uffd-trace export --format csv hits.csv", "writes them to a file"),
    )

    def complete_leading(self, index: int) -> Sequence[str]:
        """Return the three words."""
        del index
        return VERBS

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Read the ring, or empty it."""
        verb = _verb(arguments)
        if verb == "clear":
            return DoneResult({"cleared": context.clear_trace()}, "")
        events, dropped = context.trace()
        if verb == "show":
            return TraceResult(events, dropped)
        path = os.path.expanduser(unquote(arguments.words[0]))
        kind = arguments.value("format") or _format_of(path)
        try:
            _export(events, kind, path)
        except OSError as error:
            raise PagezapError(
                f"Cannot write {path}: {error.strerror}",
                hint="Give a file that can be written; what is recorded stays",
                kind="system",
            ) from error
        return DoneResult(
            {"file": path, "events": len(events), "dropped": dropped},
            f"{count(len(events), 'event')} written to {path}",
        )


def _verb(arguments: Arguments) -> str:
    word = arguments.leading[0]
    matches = [verb for verb in VERBS if verb.startswith(word)]
    if len(matches) != 1:
        raise UsageError(
            f"uffd-trace has no {word}", hint=f"It is one of {', '.join(VERBS)}", kind="usage"
        )
    verb = matches[0]
    if verb != "export" and arguments.words:
        raise UsageError(
            f"Junk after {verb}: {arguments.words[0]}",
            hint="Only export takes a file",
            kind="extra-argument",
        )
    if verb != "export" and arguments.flag("format"):
        raise UsageError("--format is for export", hint="Use --json", kind="conflicting-options")
    if verb == "export" and not arguments.words:
        raise UsageError(
            "Missing FILE", hint="uffd-trace export --format csv FILE", kind="missing-argument"
        )
    return verb


def _format_of(path: str) -> str:
    for name in ("csv", "json"):
        if path.endswith(f".{name}"):
            return name
    raise UsageError("Missing --format", hint="It is csv or json", kind="missing-argument")


def _export(events: Sequence[dict[str, object]], kind: str, path: str) -> None:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        if kind == "json":
            from json import dump

            dump(list(events), stream)
            stream.write("\n")
        else:
            from csv import DictWriter

            writer = DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(events)
