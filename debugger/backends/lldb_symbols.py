"""Expressions, and names of code and data addresses, as far as lldb's symbols tell."""

from __future__ import annotations

from typing import Any

import lldb

from pagezap.debugger.api import Location, Value
from pagezap.debugger.errors import UsageError

WORD = 2**64 - 1
DEPTH = 16
"""How deep a type is walked into."""
UNKNOWN = ("undeclared identifier", "no variable named", "no such variable")
"""In lldb's words where a name is not known in the selected frame."""
SIGNED = frozenset(
    {
        lldb.eBasicTypeSignedChar,
        lldb.eBasicTypeChar,
        lldb.eBasicTypeShort,
        lldb.eBasicTypeInt,
        lldb.eBasicTypeLong,
        lldb.eBasicTypeLongLong,
        lldb.eBasicTypeInt128,
    }
)
INTEGERS = lldb.eTypeClassBuiltin | lldb.eTypeClassEnumeration | lldb.eTypeClassPointer


def evaluate(target: Any, text: str) -> Value:
    """See Debugger. ``OBJECT@N`` is an array of N objects, as gdb has it."""
    head, at, count = text.rpartition("@")
    if at:
        first, many = _single(target, head), _single(target, count)
        if first.address is None or many.number is None or many.number < 1:
            raise UsageError(f"{text} is no array in memory", kind="expression")
        return first._replace(
            size=first.size * many.number,
            type_name=f"{first.type_name} [{many.number}]",
            number=None,
            is_pointer=False,
        )
    return _single(target, text)


def is_true(target: Any, text: str) -> bool:
    """See Debugger."""
    native = _native(target, text)
    if not native.GetType().GetCanonicalType().GetTypeClass() & INTEGERS:
        raise UsageError(f"{text} is neither a number nor a pointer", kind="no-scalar")
    return any(native.GetData().uint8s)


def _single(target: Any, text: str) -> Value:
    native = _native(target, text.strip())
    kind = native.GetType()
    if kind.IsReferenceType():
        native = native.Dereference()
        kind = native.GetType()
    canonical = kind.GetCanonicalType()
    address = native.GetLoadAddress()
    return Value(
        address=None if address == lldb.LLDB_INVALID_ADDRESS else address & WORD,
        size=int(native.GetByteSize()),
        type_name=kind.GetName() or "",
        number=_number(native, canonical),
        is_pointer=canonical.IsPointerType(),
    )


def _number(native: Any, canonical: Any) -> int | None:
    if not canonical.GetTypeClass() & INTEGERS:
        return None
    error = lldb.SBError()
    basic = canonical.GetBasicType()
    if basic in SIGNED or canonical.GetTypeClass() == lldb.eTypeClassEnumeration:
        number = int(native.GetValueAsSigned(error, 0))
    else:
        number = int(native.GetValueAsUnsigned(error, 0))
    floating = canonical.GetTypeFlags() & lldb.eTypeIsFloat
    return None if error.Fail() or floating else number


def _native(target: Any, text: str) -> Any:
    """Evaluate without running anything in the inferior where that can be."""
    thread = target.GetProcess().GetSelectedThread()
    frame = thread.GetSelectedFrame() if thread.IsValid() else lldb.SBFrame()
    if frame.IsValid():
        found = frame.GetValueForVariablePath(text, lldb.eDynamicDontRunTarget)
        if found.IsValid() and found.GetError().Success():
            return found
    options = lldb.SBExpressionOptions()
    options.SetAllowJIT(False)
    options.SetUnwindOnError(True)
    options.SetIgnoreBreakpoints(True)
    options.SetSuppressPersistentResult(True)
    found = (
        frame.EvaluateExpression(text, options)
        if frame.IsValid()
        else target.EvaluateExpression(text, options)
    )
    error = found.GetError()
    if not found.IsValid() or error.Fail():
        words = _words(error.GetCString() or f"{text} cannot be evaluated")
        kind = "no-symbol" if any(each in words for each in UNKNOWN) else "expression"
        raise UsageError(words, kind=kind)
    return found


def _words(text: str) -> str:
    """Return the first of lldb's complaints in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = next((line for line in lines if "error: " in line and ":" in line), lines[0])
    return told.rpartition("error: ")[2].rstrip(".")


def locate(target: Any, pc: int) -> Location:
    """Resolve a program counter."""
    address = target.ResolveLoadAddress(pc)
    context = target.ResolveSymbolContextForAddress(
        address,
        lldb.eSymbolContextFunction | lldb.eSymbolContextSymbol | lldb.eSymbolContextLineEntry,
    )
    function, symbol = context.GetFunction(), context.GetSymbol()
    name, offset = None, 0
    for each in (function, symbol):
        if each.IsValid():
            name = each.GetName()
            offset = pc - each.GetStartAddress().GetLoadAddress(target)
            break
    entry = context.GetLineEntry()
    if not entry.IsValid():
        return Location(pc, name, offset)
    file = entry.GetFileSpec()
    return Location(pc, name, offset, file.fullpath or file.GetFilename(), entry.GetLine() or None)


def symbol_address(target: Any, name: str) -> int | None:
    """Return where what has a name in the symbol table is."""
    for context in target.FindSymbols(name):
        address = context.GetSymbol().GetStartAddress().GetLoadAddress(target)
        if address != lldb.LLDB_INVALID_ADDRESS:
            return int(address)
    return None


def name_address(target: Any, address: int) -> str | None:
    """Name a static object by its symbol and the member at the address."""
    resolved = target.ResolveLoadAddress(address)
    symbol = resolved.GetSymbol()
    if not symbol.IsValid():
        return None
    name = symbol.GetName()
    offset = address - symbol.GetStartAddress().GetLoadAddress(target)
    for value in target.FindGlobalVariables(name, 4):
        if value.GetLoadAddress() != address - offset:
            continue
        if offset >= max(1, value.GetByteSize()):
            return None
        return str(name + member_path(value.GetType(), offset))
    return f"{name}+{offset}" if offset else str(name)


def member_path(kind: Any, offset: int) -> str:
    """Return the words that lead to the byte at ``offset`` of an object: ``[513].next``."""
    path = ""
    for _ in range(DEPTH):
        kind = kind.GetCanonicalType()
        if kind.IsArrayType():
            element = kind.GetArrayElementType()
            size = element.GetByteSize()
            if not size:
                break
            path += f"[{offset // size}]"
            kind, offset = element, offset % size
            continue
        members = [kind.GetFieldAtIndex(i) for i in range(kind.GetNumberOfFields())]
        for member in members:
            start = member.GetOffsetInBytes()
            if not member.IsBitfield() and start <= offset < start + member.GetType().GetByteSize():
                path += f".{member.GetName()}"
                kind, offset = member.GetType(), offset - start
                break
        else:
            break
    return f"{path}+{offset}" if offset else path


def frame_line(frame: Any) -> str:
    """Return a frame as gdb's one-line form has it."""
    values = ", ".join(
        f"{each.GetName()}={each.GetValue() or each.GetSummary() or '...'}"
        for each in frame.GetVariables(True, False, False, True)
    )
    entry = frame.GetLineEntry()
    name = frame.GetFunctionName()
    if name is None:
        return f"{frame.GetPC():#018x} in ?? ()"
    plain = name.partition("(")[0]
    if not entry.IsValid():
        return f"{frame.GetPC():#018x} in {plain} ()"
    amid = entry.GetStartAddress().GetLoadAddress(frame.GetThread().GetProcess().GetTarget())
    where = f"{frame.GetPC():#018x} in " if amid != frame.GetPC() else ""
    file = entry.GetFileSpec()
    return f"{where}{plain} ({values}) at {file.fullpath or file.GetFilename()}:{entry.GetLine()}"
