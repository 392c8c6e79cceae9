"""The grammar of RANGE: what a user writes for memory, in both debuggers the same.

``START, +LENGTH``; ``START, END``; an object; ``[heap]``, ``[anon:NAME]``; ``map:TEXT``;
``all``; several separated by `` -- ``. Expressions are the debugger's to evaluate.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from pagezap.debugger.errors import RangeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pagezap.debugger.api import Debugger, Value
    from pagezap.debugger.maps import Mapping

PAGE = os.sysconf("SC_PAGE_SIZE")
TOP = 2**64
SEPARATOR = " -- "
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
SUFFIXED = re.compile(r"(?<![\w.])(0x[0-9a-f]+|[0-9]+)([kmg])$", re.IGNORECASE)
SUFFIXED_GROUP = re.compile(r"(\(.*\))\s*([kmg])$", re.IGNORECASE)
OPERATORS = re.compile(r"->|<<=?|>>=|<=>?|>=|\boperator\s*[<>]+")
"""What has angle brackets that open or close nothing."""


class MemoryRange(NamedTuple):
    """Some bytes of the inferior, as the user named them."""

    start: int
    length: int
    text: str
    """The user's words for it."""
    mappings: tuple[Mapping, ...] = ()
    """The mappings that it touches."""

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.start + self.length


def parse(
    text: str,
    debugger: Debugger,
    mappings: Sequence[Mapping],
    purpose: str,
    *,
    exclude: Iterable[tuple[int, int]] = (),
) -> list[MemoryRange]:
    """Return what ``text`` names; mappings named as a whole are a range each.

    ``purpose`` is the command's name, for the hints. ``exclude`` are (start, length) of
    mappings that are pagezap's own. Raises RangeError, UsageError for an expression
    that cannot be evaluated.
    """
    own = [(start, start + length) for start, length in exclude]
    visible = [each for each in mappings if not _touches(each, own)]
    parts = [part.strip() for part in split(text, SEPARATOR)]
    if not any(parts):
        raise RangeError(
            "No range is given",
            hint=f"For example: {purpose} START, +LENGTH",
            kind="missing-range",
        )
    reader = _Reader(debugger, visible, purpose)
    return [found for part in parts if part for found in reader.read(part)]


def _touches(mapping: Mapping, own: Sequence[tuple[int, int]]) -> bool:
    return any(start < mapping.end and mapping.start < end for start, end in own)


def round_out(start: int, length: int, page: int = PAGE) -> tuple[int, int]:
    """Return the whole pages that hold any byte of the range."""
    first = start - start % page
    last = -(-(start + length) // page) * page
    return first, last - first


def round_in(start: int, length: int, text: str, page: int = PAGE) -> tuple[int, int]:
    """Return the whole pages inside the range. Raises RangeError where there is none."""
    first = -(-start // page) * page
    last = (start + length) - (start + length) % page
    if last <= first:
        raise RangeError(
            f"{text} holds no whole page: {start:#x}, +{length}; pages are {page} bytes",
            hint="--round out takes every page it touches, its neighbours' bytes included",
            kind="no-whole-page",
        )
    return first, last - first


def split(text: str, separator: str) -> list[str]:
    """Split at a separator that stands outside of brackets and quotes."""
    parts, last = [], 0
    for position in _outside(text):
        if position >= last and text.startswith(separator, position):
            parts.append(text[last:position])
            last = position + len(separator)
    parts.append(text[last:])
    return parts


def split_pair(text: str) -> tuple[str, str] | None:
    """Split ``START, REST`` at its comma; None where no comma is the grammar's."""
    commas = [position for position in _outside(text) if text[position] == ","]
    if not commas:
        return None
    # A comma inside of template arguments has an angle bracket open before it.
    balanced = [position for position in commas if _angles(text[:position]) <= 0]
    if not balanced and not text[commas[-1] + 1 :].lstrip().startswith("+"):
        return None
    position = (balanced or commas)[-1]
    return text[:position].strip(), text[position + 1 :].strip()


def _angles(text: str) -> int:
    """Return how many template brackets are open at the end of ``text``."""
    plain = OPERATORS.sub("", text)
    opened = len(re.findall(r"\w<", plain))
    return opened - plain.count(">") if opened else 0


def _outside(text: str) -> Iterable[int]:
    """Return the positions outside of brackets and quotes."""
    depth, quote, skip = 0, "", False
    for position, character in enumerate(text):
        if skip:
            skip = False
        elif quote:
            skip = character == "\\"
            quote = "" if character == quote else quote
        elif character in "\"'" and not _is_digit_separator(text, position):
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif depth <= 0:
            yield position


def _is_digit_separator(text: str, position: int) -> bool:
    """Tell C++'s 1'000 from a quote, and Rust's lifetime no range has."""
    return text[position] == "'" and position > 0 and text[position - 1].isdigit()


class _Reader:
    """Reads the parts of one range text."""

    def __init__(self, debugger: Debugger, mappings: Sequence[Mapping], purpose: str) -> None:
        self._debugger = debugger
        self._mappings = sorted(mappings, key=lambda each: each.start)
        self._purpose = purpose

    def read(self, text: str) -> list[MemoryRange]:
        """Read one part."""
        if text == "all":
            return self._whole(
                text, [each for each in self._mappings if each.is_anonymous and not each.is_stack]
            )
        if text.startswith("map:"):
            return self._by_path(text)
        if text.startswith("[") and text.endswith("]"):
            return self._by_name(text)
        pair = split_pair(text)
        if pair is None:
            return [self._checked(*self._object(text), text)]
        return [self._checked(*self._pair(*pair, text), text)]

    # -- mappings -------------------------------------------------------------------
    def _whole(self, text: str, found: Sequence[Mapping]) -> list[MemoryRange]:
        if not found:
            raise nothing_left(text)
        return [MemoryRange(each.start, each.length, text, (each,)) for each in found]

    def _by_path(self, text: str) -> list[MemoryRange]:
        wanted = text.removeprefix("map:").strip()
        if not wanted:
            raise RangeError(
                "map: needs a text to look for",
                hint=f"For example: {self._purpose} map:libc.so",
                kind="no-mapping",
            )
        found = [each for each in self._mappings if wanted in each.path]
        usable = [each for each in found if not each.is_special]
        if found and not usable:
            raise self._special(text, found[0])
        return self._whole(text, usable)

    def _by_name(self, text: str) -> list[MemoryRange]:
        found = [each for each in self._mappings if each.path == text]
        if found and found[0].is_special:
            raise self._special(text, found[0])
        return self._whole(text, found)

    # -- expressions ------------------------------------------------------------------
    def _object(self, text: str) -> tuple[int, int]:
        value = self._debugger.evaluate(text)
        if value.is_pointer:
            raise RangeError(
                f"{text} is a pointer ({value.type_name}), which does not tell how many bytes",
                hint=f"For example: {self._purpose} {text}, +4096 or "
                f"{self._purpose} *{_operand(text)}@64",
                kind="pointer-without-length",
            )
        if value.address is None:
            raise RangeError(
                f"{text} has no address: it is a constant, a computed value or in a register",
                hint=f"Give an address and a length: {self._purpose} "
                f"{text if value.number is not None else 'ADDRESS'}, +4096",
                kind="no-address",
            )
        if not value.size:
            raise self._empty(text, f"{text} has no size")
        return value.address, value.size

    def _pair(self, first: str, second: str, text: str) -> tuple[int, int]:
        if not first or not second.lstrip("+"):
            raise RangeError(
                f"{text} is half a range",
                hint=f"For example: {self._purpose} {first or 'START'}, +4096",
                kind="bad-range",
            )
        start = self._address(first)
        if second.startswith("+"):
            length = self._length(second[1:].strip())
            if length <= 0:
                raise self._empty(first, f"{text} is empty: its length is {length}")
            return start, length
        end = self._address(second)
        if end == start:
            raise self._empty(first, f"{text} is empty: both ends are {start:#x}")
        if end < start:
            raise RangeError(
                f"{text} ends at {end:#x}, before it begins at {start:#x}",
                hint=f"Exchange the two, or give a length: {self._purpose} {first}, +{second}",
                kind="wrapped-range",
            )
        return start, end - start

    def _address(self, text: str) -> int:
        value = self._debugger.evaluate(text)
        if value.number is not None:
            return value.number % TOP
        if value.address is not None and value.type_name.rstrip().endswith("]"):
            return value.address
        where = f"&{_operand(text)}" if value.address is not None else "an address"
        raise RangeError(
            f"{text} ({value.type_name}) is not an address",
            hint=f"Give {where} where the range begins or ends",
            kind="no-address",
        )

    def _length(self, text: str) -> int:
        factor = 1
        found = SUFFIXED.search(text)
        if found:
            # Multiplied here: as an int of the program 4G would be 0.
            number = _literal(found[1]) * UNITS[found[2].lower()]
            if not found.start():
                return number
            # In hexadecimal: the debugger may take digits for another radix.
            text = f"{text[: found.start()]}{number:#x}"
        else:
            found = SUFFIXED_GROUP.fullmatch(text)
            if found:
                text, factor = found[1], UNITS[found[2].lower()]
        value: Value = self._debugger.evaluate(text)
        if value.number is None:
            raise RangeError(
                f"{text} ({value.type_name}) is not a number of bytes",
                hint=f"For example: {self._purpose} START, +4096",
                kind="bad-range",
            )
        return value.number * factor

    # -- checks -------------------------------------------------------------------------
    def _checked(self, start: int, length: int, text: str) -> MemoryRange:
        end = start + length
        if end > TOP:
            raise RangeError(
                f"{text} goes beyond the end of the address space",
                hint=f"+{length} does not fit behind {start:#x}",
                kind="wrapped-range",
            )
        touched = [each for each in self._mappings if each.start < end and start < each.end]
        position = start
        for mapping in touched:
            if mapping.start > position:
                break
            position = mapping.end
        if position < end:
            raise self._unmapped(text, start, position)
        for mapping in touched:
            if mapping.is_special:
                raise self._special(text, mapping)
        return MemoryRange(start, length, text, tuple(touched))

    def _unmapped(self, text: str, start: int, address: int) -> RangeError:
        hint = "pagemap-show lists what is mapped"
        if address > start:
            hint = f"Up to there: {self._purpose} {start:#x}, {address:#x}"
        return RangeError(
            f"{text} is not mapped at {address:#x}" + (" and on" if address > start else ""),
            hint=hint,
            kind="unmapped",
        )

    def _special(self, text: str, mapping: Mapping) -> RangeError:
        return RangeError(
            f"{text} is in {mapping.path}, which the kernel provides",
            hint="Its pages cannot be dropped, kept or watched; give memory of the program",
            kind="special-mapping",
        )

    def _empty(self, first: str, message: str) -> RangeError:
        return RangeError(
            message, hint=f"For example: {self._purpose} {first}, +4096", kind="empty-range"
        )


def nothing_left(text: str) -> RangeError:
    """Return the error for a text that names no mapping."""
    return RangeError(
        "The program has no private anonymous memory but stacks"
        if text.strip() == "all"
        else f"No mapping is named by {text}",
        hint="pagemap-show lists the mappings",
        kind="no-mapping",
    )


def _operand(text: str) -> str:
    """Return an expression as it may stand behind ``*`` or ``&``."""
    return text if re.fullmatch(r"[\w$]+", text) else f"({text})"


def _literal(text: str) -> int:
    """Return a C literal's number: 0x hexadecimal, 0 octal, else decimal."""
    if text.lower().startswith("0x"):
        return int(text, 16)
    return int(text, 8 if text.startswith("0") and text.strip("01234567") == "" else 10)
