"""Names of code and data addresses, as far as gdb's symbols tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import gdb

from pagezap.debugger.api import Location
from pagezap.debugger.backends.gdb_execute import execute
from pagezap.debugger.backends.gdb_language import hexadecimal

if TYPE_CHECKING:
    from collections.abc import Sequence

INFO_ADDRESS = re.compile(r" at (?:address )?(?P<address>0x[0-9a-f]+)")
INFO_SYMBOL = re.compile(
    r"(?:~\")?(?P<name>.+?)(?: \+ (?P<offset>\d+))? in section (?P<section>\S+)"
)
"""Over MI gdb 18 gives the text as a record of a stream where a stop is told of."""
FRAME_HEAD = re.compile(r"#\d+\s+")
FRAME_ADDRESS = re.compile(r"0x[0-9a-f]+ in ")
DEPTH = 16
"""How deep a type is walked into."""
COMPLETIONS = 100
PLAIN_NAME = re.compile(r"[\w:]+")
LAST_NAME = re.compile(r"[^\W\d]\w*$")


def _info_symbol(address: int) -> tuple[str, int] | None:
    """Return the symbol that an address is in, and the offset from its start."""
    try:
        with hexadecimal():
            text = execute(f"info symbol {address:#x}")
    except gdb.error:
        return None
    found = INFO_SYMBOL.match(text)
    return (found["name"], int(found["offset"] or 0)) if found else None


def locate(pc: int) -> Location:
    """Resolve a program counter."""
    name, offset = _function(pc)
    if name is None:
        symbol = _info_symbol(pc)
        if symbol is not None:
            name, offset = symbol
    file, line = None, None
    found = gdb.find_pc_line(pc)
    if found.symtab is not None:
        file, line = found.symtab.filename, found.line or None
    return Location(pc, name, offset, file, line)


def _function(pc: int) -> tuple[str | None, int]:
    """Return the function that really is at ``pc``: not one inlined into it."""
    try:
        block = gdb.block_for_pc(pc)
    except (gdb.error, RuntimeError):
        return None, 0
    name, start = None, pc
    while block is not None and not block.is_static and not block.is_global:
        if block.function is not None:
            name, start = block.function.print_name, block.start
        block = block.superblock
    return name, pc - start


def symbol_address(name: str) -> int | None:
    """Return where what has a name in the symbol table is, be it known to no language."""
    try:
        text = execute(f"info address {name}")
    except gdb.error:
        return None
    found = INFO_ADDRESS.search(text)
    return int(found["address"], 16) if found else None


def name_address(address: int) -> str | None:
    """Name a static object by its symbol and the member at the address."""
    symbol = _info_symbol(address)
    if symbol is None:
        return None
    name, offset = symbol
    value = _static_object(name, address - offset)
    if value is None:
        return f"{name}+{offset}" if offset else name
    if offset >= max(1, value.type.sizeof):
        return None
    return name + member_path(value.type, offset)


def _static_object(name: str, address: int) -> Any | None:
    """Return the variable of that name at that address."""
    found = [gdb.lookup_global_symbol(name), *_static_symbols(name)]
    for symbol in found:
        if symbol is None or not symbol.is_variable:
            continue
        try:
            value = symbol.value()
            if value.address is not None and int(value.address) == address:
                return value
        except (gdb.error, TypeError, ValueError):
            continue
    return None


def _static_symbols(name: str) -> Sequence[Any]:
    try:
        return list(gdb.lookup_static_symbols(name))
    except (gdb.error, AttributeError):
        return []


def member_path(kind: Any, offset: int) -> str:
    """Return the words that lead to the byte at ``offset`` of an object: ``[513].next``."""
    path = ""
    for _ in range(DEPTH):
        kind = kind.strip_typedefs()
        if kind.code == gdb.TYPE_CODE_ARRAY:
            element = kind.target()
            low = kind.range()[0]
            if not element.sizeof:
                break
            path += f"[{low + offset // element.sizeof}]"
            kind, offset = element, offset % element.sizeof
        elif kind.code == gdb.TYPE_CODE_STRUCT:
            field = _field_at(kind, offset)
            if field is None:
                break
            offset -= field.bitpos // 8
            # An unnamed member and a base class are left out, as C and C++ do.
            if field.name and not field.is_base_class:
                path += f".{field.name}"
            kind = field.type
        else:
            break
    return f"{path}+{offset}" if offset else path


def _field_at(kind: Any, offset: int) -> Any | None:
    for field in kind.fields():
        if not hasattr(field, "bitpos"):
            continue
        start = field.bitpos // 8
        if start <= offset < start + max(1, field.type.sizeof):
            return field
    return None


def frame_text() -> str:
    """Return what gdb prints of the selected frame at a stop, with its source line."""
    return FRAME_HEAD.sub("", execute("frame"), count=1)


def frame_line() -> str:
    """Return the innermost frame's function, arguments and place, in one line."""
    # Not `with`: over MI gdb 18 tells of the changed setting amid the text.
    text = execute("backtrace -frame-info location -no-filters 1")
    return FRAME_ADDRESS.sub("", FRAME_HEAD.sub("", " ".join(text.split()), count=1), count=1)


def complete(word: str) -> list[str]:
    """Return the symbols and other words of an expression that begin with ``word``.

    Where they are too many, those that are nearest to the program come first.
    """
    text = execute(f"complete print {word}")
    lines = (line.removeprefix("print ") for line in text.splitlines())
    stem = LAST_NAME.search(word)
    head = word[: stem.start()] if stem else word
    # gdb has a limit of its own, and comes to these last.
    scope = [] if head.endswith((".", "->")) else _variables_in_scope()
    near = [head + name for name in scope if (head + name).startswith(word)]
    found = list(dict.fromkeys([*near, *(line for line in lines if "***" not in line)]))
    if len(found) > COMPLETIONS:
        found[len(near) :] = sorted(
            found[len(near) :], key=lambda each: _distance(each[len(head) :])
        )
    return found[:COMPLETIONS]


def _variables_in_scope() -> list[str]:
    """Return the names of the selected frame's variables."""
    try:
        block = gdb.selected_frame().block()
    except (gdb.error, RuntimeError):
        return []
    names = []
    while block is not None and not block.is_static and not block.is_global:
        names += [each.name for each in block if each.is_variable or each.is_argument]
        block = None if block.function is not None else block.superblock
    return list(dict.fromkeys(names))


def _distance(name: str) -> int:
    """Return how far a name is from what the user is likely to mean."""
    for program in gdb.objfiles()[:1]:
        symbol = program.lookup_global_symbol(name) or program.lookup_static_symbol(name)
        if symbol is not None:
            return 0 if symbol.is_variable else 1
    if not PLAIN_NAME.fullmatch(name):
        # As an expression it may be a call.
        return 3
    address = symbol_address(name)
    return 2 if address is not None and gdb.solib_name(address) is None else 3
