"""Our commands as gdb's own: failure, completion, help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gdb

from pagezap.debugger.errors import PagezapError, debugging, internal_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pagezap.debugger.api import CommandSpec


class _Command(gdb.Command):  # type: ignore[misc]
    """One command; fails as gdb's commands do, in one line."""

    def __init__(self, spec: CommandSpec, entering: Callable[[bool], None]) -> None:
        self.__doc__ = spec.help
        self._spec = spec
        self._entering = entering
        super().__init__(spec.name, gdb.COMMAND_DATA)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Run the command. Raises gdb.GdbError, which gdb shows as its own error."""
        self._entering(from_tty)
        try:
            self._spec.invoke(argument)
        except PagezapError as error:
            raise gdb.GdbError(error.line()) from None
        except (gdb.GdbError, KeyboardInterrupt):
            raise
        except gdb.error as error:
            # gdb's own words: a register or memory that it cannot read.
            raise gdb.GdbError(" ".join(str(error).split()).rstrip(".") + ".") from None
        except BaseException as error:
            # SystemExit among them: gdb 18 would die of it.
            raise gdb.GdbError(self._internal(error)) from None

    def complete(self, text: str, word: str) -> Sequence[str]:
        """Return the completions of ``word``; none rather than an error at the prompt."""
        try:
            return list(self._spec.complete(text or "", word or ""))
        except (Exception, SystemExit) as error:
            if debugging():
                gdb.write(self._internal(error) + "\n", gdb.STDERR)
            return []

    def _internal(self, error: BaseException) -> str:
        return internal_error(self._spec.name, error, lambda text: gdb.write(text, gdb.STDERR))


def add(spec: CommandSpec, entering: Callable[[bool], None]) -> None:
    """Register a command; ``entering`` is told whether a person typed it."""
    _Command(spec, entering)
