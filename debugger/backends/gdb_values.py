"""What the user's expressions come to."""

from __future__ import annotations

from typing import Any

import gdb

from pagezap.debugger.api import Value
from pagezap.debugger.errors import UsageError

WORD = 2**64 - 1
NUMERIC = frozenset(
    {
        gdb.TYPE_CODE_INT,
        gdb.TYPE_CODE_CHAR,
        gdb.TYPE_CODE_BOOL,
        gdb.TYPE_CODE_ENUM,
        gdb.TYPE_CODE_FLAGS,
        gdb.TYPE_CODE_PTR,
        gdb.TYPE_CODE_RANGE,
    }
)
SCALAR = NUMERIC | {gdb.TYPE_CODE_FLT, gdb.TYPE_CODE_DECFLOAT}
UNKNOWN = ('No symbol "', "No symbol '", 'No definition of "', "No frame is currently executing")
"""How gdb's words begin where a name is not known in the selected frame: C, Rust, Ada."""


def evaluate(expression: str) -> Value:
    """Evaluate in the selected frame. Raises UsageError with gdb's words."""
    try:
        value, kind = _plain(gdb.parse_and_eval(expression))
        address = None if value.is_optimized_out else value.address
        number = int(value) if kind.code in NUMERIC and not value.is_optimized_out else None
        return Value(
            address=None if address is None else int(address) & WORD,
            size=value.type.sizeof,
            type_name=_type_name(value.type),
            number=number,
            is_pointer=kind.code == gdb.TYPE_CODE_PTR,
        )
    except (gdb.error, OverflowError) as error:
        raise _refusal(error) from error


def is_true(expression: str) -> bool:
    """Return whether a number or pointer is not zero. Raises UsageError."""
    try:
        value, kind = _plain(gdb.parse_and_eval(expression))
        if kind.code not in SCALAR:
            raise UsageError(
                f"{expression} ({_type_name(value.type)}) is neither a number nor a pointer",
                kind="no-scalar",
            )
        if value.is_optimized_out:
            raise UsageError(f"{expression} has been optimized out", kind="optimized-out")
        return bool(value)
    except gdb.error as error:
        raise _refusal(error) from error


def _plain(value: Any) -> tuple[Any, Any]:
    """Return what a reference is to, else the value; and its type without a typedef."""
    kind = value.type.strip_typedefs()
    if kind.code in {gdb.TYPE_CODE_REF, getattr(gdb, "TYPE_CODE_RVALUE_REF", -1)}:
        value = value.referenced_value()
        kind = value.type.strip_typedefs()
    return value, kind


def _type_name(kind: Any) -> str:
    """Return a type's name, of an array as C has it: gdb 13 dies of C's arrays in Pascal."""
    lengths = ""
    while kind.code == gdb.TYPE_CODE_ARRAY:
        low, high = kind.range()
        lengths += f"[{high - low + 1}]"
        kind = kind.target()
    return f"{kind} {lengths}" if lengths else str(kind)


def _refusal(error: BaseException) -> UsageError:
    words = words_of(error)
    hint = "Give an address and a length" if "max-value-size" in words else ""
    kind = "no-symbol" if words.startswith(UNKNOWN) else "expression"
    return UsageError(words, hint=hint, kind=kind)


def words_of(error: BaseException) -> str:
    """Return gdb's own words in one line, without a full stop."""
    return " ".join(str(error).split()).rstrip(".")
