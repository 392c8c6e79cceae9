"""How many bytes an x86-64 instruction writes to memory.

Enough of a decoder for that: prefixes, opcode, the ModRM byte. See the Intel SDM,
volume 2, appendix A. Stores of an unknown or masked width give None.
"""

from __future__ import annotations

from typing import NamedTuple

LEGACY_PREFIXES = frozenset({0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3})
NO_PREFIX, P66, PF3, PF2 = 0, 1, 2, 3
"""The mandatory prefixes, as VEX numbers them."""
XMM, WORD = 16, 8

X87 = {
    0xD9: {2: 4, 3: 4, 6: 28, 7: 2},
    0xDB: {1: 4, 2: 4, 3: 4, 7: 10},
    0xDD: {1: 8, 2: 8, 3: 8, 6: 108, 7: 2},
    0xDF: {1: 2, 2: 2, 3: 2, 6: 10, 7: 8},
}
"""Opcode and ModRM's reg to width, with a memory operand."""

SHIFT_DOWN = (2, 4, 8, 2, 4, 2)
"""By how much vpmovwb, db, qb, dw, qw, qd narrow a vector."""
KMOV = {(NO_PREFIX, 0): 2, (NO_PREFIX, 1): 8, (P66, 0): 1, (P66, 1): 4}


class _Instruction(NamedTuple):
    """What the decoding of prefixes leaves."""

    opcode: int
    rest: bytes
    """What follows the opcode: the ModRM byte first."""
    wide: bool
    """REX.W or its equal."""
    prefix: int
    """The mandatory prefix."""
    small: bool
    """Whether 66 halves the operand size."""
    vector: int
    """Vector length in bytes, 16 without VEX."""

    @property
    def operand(self) -> int:
        """The operand size in bytes."""
        if self.wide:
            return 8
        return 2 if self.small else 4

    @property
    def in_memory(self) -> bool:
        """Whether the ModRM byte names memory."""
        return bool(self.rest) and self.rest[0] >> 6 != 3

    @property
    def reg(self) -> int:
        """The reg field of the ModRM byte, of which groups make an opcode."""
        return self.rest[0] >> 3 & 7 if self.rest else -1

    @property
    def stack(self) -> int:
        """What a push writes."""
        return 2 if self.small else WORD

    @property
    def general(self) -> int:
        """The width of a general register that REX.W alone widens."""
        return 8 if self.wide else 4


def store_width(code: bytes) -> int | None:
    """Return the bytes written to memory by the instruction that ``code`` begins with.

    Of a repeated string instruction that is one element, since each restarts by itself.
    """
    try:
        return _store_width(code)
    except IndexError:
        return None


def _store_width(code: bytes) -> int | None:
    at, prefixes = 0, set()
    while code[at] in LEGACY_PREFIXES:
        prefixes.add(code[at])
        at += 1
    rex = 0
    if code[at] & 0xF0 == 0x40:
        rex = code[at]
        at += 1
    if code[at] in {0xC4, 0xC5}:
        return _vex(code[at:])
    if code[at] == 0x62:
        return _evex(code[at:])
    prefix = NO_PREFIX
    if 0xF2 in prefixes:
        prefix = PF2
    elif 0xF3 in prefixes:
        prefix = PF3
    elif 0x66 in prefixes:
        prefix = P66
    tables = {b"": _one_byte, b"\x0f": _two_byte, b"\x0f\x38": _map_38, b"\x0f\x3a": _map_3a}
    escape = b""
    if code[at] == 0x0F:
        escape = code[at : at + 2] if code[at + 1] in {0x38, 0x3A} else b"\x0f"
    at += len(escape)
    found = _Instruction(code[at], code[at + 1 :], bool(rex & 8), prefix, 0x66 in prefixes, XMM)
    return tables[escape](found)


def _one_byte(it: _Instruction) -> int | None:
    opcode = it.opcode
    # Without a ModRM byte: the stack, strings, absolute addresses.
    if 0x50 <= opcode <= 0x57 or opcode in {0x68, 0x6A, 0x9C}:
        return it.stack
    if opcode == 0xE8:
        return WORD
    if opcode == 0xC8:
        return WORD if it.rest[2] & 31 == 0 else None
    if opcode in {0xA2, 0xA4, 0xAA, 0x6C}:
        return 1
    if opcode in {0xA3, 0xA5, 0xAB}:
        return it.operand
    if opcode == 0x6D:
        return 2 if it.small else 4
    if opcode == 0xFF and it.reg == 6:
        return it.stack
    if opcode == 0xFF and it.reg == 2:
        return WORD
    if not it.in_memory:
        return None
    if opcode in X87:
        return X87[opcode].get(it.reg)
    if opcode == 0x8C:
        return 2
    if opcode == 0x8F:
        return it.stack if it.reg == 0 else None
    return _byte_or_operand(it)


def _byte_or_operand(it: _Instruction) -> int | None:
    """Opcodes whose lowest bit tells a byte from the operand size."""
    opcode, reg = it.opcode, it.reg
    width = it.operand if opcode & 1 else 1
    writes = (
        (opcode < 0x38 and opcode & 7 in {0, 1})
        or (opcode in {0x80, 0x81, 0x83} and reg != 7)
        or opcode in {0x86, 0x87, 0x88, 0x89, 0xC0, 0xC1, 0xD0, 0xD1, 0xD2, 0xD3}
        or (opcode in {0xC6, 0xC7} and reg == 0)
        or (opcode in {0xFE, 0xFF} and reg in {0, 1})
        or (opcode in {0xF6, 0xF7} and reg in {2, 3})
    )
    return width if writes else None


def _two_byte(it: _Instruction) -> int | None:
    opcode = it.opcode
    if opcode in {0xA0, 0xA8}:
        return it.stack
    if not it.in_memory:
        return None
    if 0x90 <= opcode <= 0x9F:
        return 1
    if opcode in {0xB0, 0xC0}:
        return 1
    if opcode in {0xA4, 0xA5, 0xAB, 0xAC, 0xAD, 0xB1, 0xB3, 0xBB, 0xC1}:
        return it.operand
    if opcode == 0xBA:
        return it.operand if it.reg >= 5 else None
    if opcode == 0xC3:
        return it.general
    if opcode == 0xC7:
        return (16 if it.wide else 8) if it.reg == 1 else None
    if opcode == 0x00:
        return 2 if it.reg in {0, 1} else None
    if opcode == 0x01:
        return {0: 10, 1: 10, 4: 2}.get(it.reg)
    if opcode == 0x78 and it.prefix == NO_PREFIX:
        return WORD
    if it.prefix == NO_PREFIX and opcode in {0x7F, 0xE7}:
        return 8
    if it.prefix == NO_PREFIX and opcode == 0x7E:
        return it.general
    return _vector_move(it)


def _vector_move(it: _Instruction) -> int | None:
    """Moves of the 0F map that SSE, VEX and EVEX have alike."""
    opcode, prefix = it.opcode, it.prefix
    width: int | None = None
    if opcode in {0x11, 0x2B}:
        width = {PF3: 4, PF2: 8}.get(prefix, it.vector)
    elif opcode in {0x13, 0x17}:
        width = 8
    elif opcode == 0x29:
        width = it.vector
    elif opcode == 0x7E and prefix == P66:
        width = it.general
    elif opcode == 0x7F and prefix != NO_PREFIX:
        width = it.vector
    elif opcode == 0xD6 and prefix == P66:
        width = 8
    elif opcode == 0xE7 and prefix == P66:
        width = it.vector
    elif opcode == 0xAE and prefix == NO_PREFIX and it.reg == 3:
        width = 4
    return width


def _map_38(it: _Instruction) -> int | None:
    if not it.in_memory:
        return None
    opcode, prefix = it.opcode, it.prefix
    if opcode == 0xF1 and prefix in {NO_PREFIX, P66}:
        return it.operand
    if opcode == 0xF8 and prefix == P66:
        return 64
    stores = {(0xF9, NO_PREFIX), (0xF6, NO_PREFIX), (0xF5, P66)}
    if (opcode, prefix) in stores or opcode == 0xFC:
        return it.general
    return None


def _map_3a(it: _Instruction) -> int | None:
    if not it.in_memory or it.prefix != P66:
        return None
    if it.opcode == 0x16:
        return it.general
    return {0x14: 1, 0x15: 2, 0x17: 4}.get(it.opcode)


def _vex(code: bytes) -> int | None:
    if code[0] == 0xC5:
        last, table, opcode, wide = code[1], 1, 2, False
    else:
        last, table, opcode, wide = code[2], code[1] & 31, 3, bool(code[2] & 0x80)
    vector = 32 if last & 4 else 16
    it = _Instruction(code[opcode], code[opcode + 1 :], wide, last & 3, False, vector)
    if not it.in_memory:
        return None
    if table == 1:
        if it.opcode == 0x91:
            return KMOV.get((it.prefix, int(wide)))
        return _vector_move(it)
    if table == 2 and 0xE0 <= it.opcode <= 0xEF and it.prefix == P66:
        return it.general
    if table == 3 and it.prefix == P66:
        return {0x19: 16, 0x39: 16, 0x1D: vector // 2}.get(it.opcode) or _map_3a(it)
    return None


def _evex(code: bytes) -> int | None:
    table, second, third = code[1] & 7, code[2], code[3]
    if third & 7:
        # Under a mask some elements only are written.
        return None
    vector = 16 << (third >> 5 & 3)
    it = _Instruction(code[4], code[5:], bool(second & 0x80), second & 3, False, vector)
    if not it.in_memory:
        return None
    if table == 1:
        return _vector_move(it)
    if table == 2 and it.prefix == PF3 and it.opcode & 0xF < 6 and it.opcode >> 4 in {1, 2, 3}:
        return vector // SHIFT_DOWN[it.opcode & 0xF]
    if table == 3 and it.prefix == P66:
        extracts = {0x19: 16, 0x39: 16, 0x1B: 32, 0x3B: 32, 0x1D: vector // 2}
        return extracts.get(it.opcode) or _map_3a(it)
    if table == 5:
        return {(0x11, PF3): 2, (0x7E, P66): 2}.get((it.opcode, it.prefix))
    return None
