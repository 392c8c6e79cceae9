"""Typed errors: the one vocabulary in which pagezap refuses.

Every refusal carries a ``kind`` (a stable lower-case word with hyphens, part of
the JSON contract), a ``message`` that names the cause in one line, and a
``hint`` that says what to do about it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEBUG_VARIABLE = "PAGEZAP_DEBUG"
"""Environment variable that, set, shows the traceback of an internal error."""


class PagezapError(Exception):
    """A refusal that is shown to the user as one line, never as a traceback."""

    kind = "error"

    def __init__(self, message: str, *, hint: str = "", kind: str | None = None) -> None:
        """Make an error with a one-line ``message`` and a ``hint`` on what to do."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        if kind is not None:
            self.kind = kind

    def line(self) -> str:
        """Return the error as the single line that a debugger shows."""
        return f"{self.message}. {self.hint}" if self.hint else self.message


class UsageError(PagezapError):
    """The words of a command are off: an unknown option, a missing argument."""

    kind = "usage"


class NoInferiorError(PagezapError):
    """There is no live process to act on (none, a core file, a remote one)."""

    kind = "no-inferior"


class RangeError(PagezapError):
    """A range that cannot be: empty, wrapped, unmapped, a pointer without length."""

    kind = "bad-range"


class UnsupportedError(PagezapError):
    """Memory, an inferior or a kernel on which the operation cannot work."""

    kind = "unsupported"


class PermissionRefusedError(PagezapError):
    """The user lacks the privilege for the operation."""

    kind = "permission"


class HazardError(PagezapError):
    """The operation would lose data or break the inferior; ``--force`` overrides."""

    kind = "hazard"


class InjectionError(PagezapError):
    """A system call could not be made in the inferior, or it failed there."""

    kind = "injection"
    errno = 0
    """The call's error number; 0 where it was not made at all."""


class HelperError(PagezapError):
    """The helper is missing, gone, or answered with an error."""

    kind = "helper"


def internal_error(command: str, error: BaseException, show: Callable[[str], object]) -> str:
    """Return the line for an error that is no refusal; its traceback goes to ``show`` on demand."""
    if debugging():
        import traceback

        show("".join(traceback.format_exception(error)))
    detail = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
    return f"internal error in {command}: {detail}. Set {DEBUG_VARIABLE}=1 to see where"


def debugging() -> bool:
    """Return whether the user wants to see where pagezap itself failed."""
    return DEBUG_VARIABLE in os.environ
