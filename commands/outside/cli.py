"""The ``pagezap`` console script."""

from __future__ import annotations

import argparse
import sys
from importlib import metadata

from pagezap.commands.framework.boundary import failure_line
from pagezap.debugger.errors import PagezapError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

EXEC_NOTE = """\
Commands run in the order given, -c and -x mixed. After a -c command that fails the
next one still runs, as gdb does with -ex; a script given with -x ends at its first
failure. The exit status is 0, or 1 where a command failed, or 2 for bad usage. After
quit nothing more is run; its argument, where it is not 0, is the exit status.
With --json standard output carries one JSON object a command, a line each; the rest,
and what PROGRAM prints, goes to standard error. At the end a process given with --pid
is released and detached from and runs on; a PROGRAM started here is ended.
"""


def version() -> str:
    """Return the version of the installed distribution."""
    try:
        return metadata.version("pagezap")
    except metadata.PackageNotFoundError:
        return "(not installed)"


class _Ordered(argparse.Action):
    """Collects -c and -x in one list, in the order given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Append one (kind, value) pair."""
        del parser, option_string
        steps = list(getattr(namespace, "steps", None) or [])
        steps.append((self.const, str(values)))
        namespace.steps = steps


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pagezap",
        description="Zap, keep, watch and check the memory pages of a program under a debugger.",
    )
    parser.add_argument("--version", action="version", version=f"pagezap {version()}")
    commands = parser.add_subparsers(dest="call", metavar="COMMAND", required=True)
    _add_exec(commands)
    init = commands.add_parser("init", help="print the line that loads the commands")
    init.add_argument(
        "debugger", choices=["gdb"], help="the debugger whose start-up file it is for"
    )
    doctor = commands.add_parser(
        "doctor", help="tell what this kernel, these privileges and a process allow"
    )
    doctor.add_argument("--pid", type=int, help="look at this process, too")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    recover = commands.add_parser("recover", help="bring back what a session left in a process")
    recover.add_argument("pid", type=int, metavar="PID")
    recover.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _add_exec(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    execute = commands.add_parser(
        "exec",
        help="run commands in a real debugger",
        description="Run commands in a real debugger, on a process or on a program.",
        usage="pagezap exec [--debugger gdb] [--debugger-path P] [-c COMMAND]... [-x FILE]... "
        "[--json] (--pid PID | -- PROGRAM ARG...)",
        epilog=EXEC_NOTE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    execute.add_argument("--debugger", choices=["gdb"], default="gdb", help="which debugger (gdb)")
    execute.add_argument("--debugger-path", metavar="P", help="the debugger's executable")
    execute.add_argument("--pid", type=int, help="attach to this process")
    execute.add_argument("--core", metavar="no", help=argparse.SUPPRESS)
    execute.add_argument(
        "-c",
        dest="steps",
        action=_Ordered,
        const="command",
        metavar="COMMAND",
        help="run this command; may be repeated",
    )
    execute.add_argument(
        "-x",
        dest="steps",
        action=_Ordered,
        const="script",
        metavar="FILE",
        help="run the commands of this file; may be repeated",
    )
    execute.add_argument("--json", action="store_true", help="print one JSON object a command")


def _split(argv: list[str]) -> tuple[list[str], list[str] | None]:
    """Split at the first ``--``; what follows is PROGRAM and its arguments."""
    if "--" not in argv:
        return argv, None
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _exec(options: argparse.Namespace, program: list[str] | None) -> int:
    from pagezap.commands.outside import execute

    if options.core is not None and options.core != "no":
        raise PagezapError(
            "A core file has no live process", hint="Give --pid or a PROGRAM", kind="usage"
        )
    if (options.pid is None) == (not program):
        raise PagezapError("Give either --pid PID or -- PROGRAM", kind="usage")
    job = execute.Job(
        debugger_path=options.debugger_path,
        pid=options.pid,
        program=program or [],
        steps=options.steps or [],
        as_json=options.json,
    )
    return execute.run(job)


def _dispatch(options: argparse.Namespace, program: list[str] | None) -> int:
    if options.call == "exec":
        return _exec(options, program)
    if program is not None:
        raise PagezapError(f"pagezap {options.call} takes no program", kind="usage")
    if options.call == "init":
        from pagezap.commands.outside import init

        sys.stdout.write(init.line() + "\n")
        return EXIT_OK
    if options.call == "doctor":
        from pagezap.commands.outside import doctor

        return doctor.run(options.pid, as_json=options.json)
    from pagezap.commands.outside import recover

    return recover.run(options.pid, as_json=options.json)


def main(argv: list[str] | None = None) -> int:
    """Run the console script; return its exit status."""
    words, program = _split(list(sys.argv[1:] if argv is None else argv))
    try:
        options = _parser().parse_args(words)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        return _dispatch(options, program)
    except PagezapError as error:
        sys.stderr.write(f"pagezap: {error.line()}\n")
        if options.call in {"doctor", "recover"} and options.json:
            sys.stdout.write(failure_line(options.call, error))
        return EXIT_USAGE if error.kind == "usage" else EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write("pagezap: interrupted\n")
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
