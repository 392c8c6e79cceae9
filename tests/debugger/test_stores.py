"""The width of stores, against what the assembler and objdump say of real instructions."""

from __future__ import annotations

import re
import subprocess

import pytest

from pagezap.debugger.arch import for_machine
from pagezap.debugger.errors import UnsupportedError

WIDTHS = {
    "movb $1, (%rax)": 1,
    "movw $1, (%rax)": 2,
    "movl $1, 4(%rax,%rbx,8)": 4,
    "movq $1, 0x1000(%rip)": 8,
    "mov %al, (%rdi)": 1,
    "mov %r9b, %fs:(%rdi)": 1,
    "mov %ax, (%rdi)": 2,
    "mov %eax, (%rdi)": 4,
    "mov %r15, (%r14)": 8,
    "movabs %al, 0x1122334455667788": 1,
    "movabs %rax, 0x1122334455667788": 8,
    "mov %ds, (%rax)": 2,
    "movsb": 1,
    "rep movsb": 1,
    "rep movsq": 8,
    "rep stosl": 4,
    "rep stosb": 1,
    "stosw": 2,
    "addb $1, (%rax)": 1,
    "addl $1, (%rax)": 4,
    "addl $0x12345, (%rax)": 4,
    "lock addq $1, (%rax)": 8,
    "orw %cx, (%rax)": 2,
    "xor %rcx, (%rax)": 8,
    "sbb %cl, (%rax)": 1,
    "incl (%rax)": 4,
    "decb (%rax)": 1,
    "notq (%rax)": 8,
    "negw (%rax)": 2,
    "shll $3, (%rax)": 4,
    "rolb (%rax)": 1,
    "sarq %cl, (%rax)": 8,
    "xchg %rax, (%rbx)": 8,
    "xchg %al, (%rbx)": 1,
    "lock xadd %eax, (%rbx)": 4,
    "lock cmpxchg %rcx, (%rbx)": 8,
    "lock cmpxchg %cl, (%rbx)": 1,
    "lock cmpxchg8b (%rbx)": 8,
    "lock cmpxchg16b (%rbx)": 16,
    "sete (%rax)": 1,
    "btsl $3, (%rax)": 4,
    "lock btrq %rcx, (%rax)": 8,
    "shld $3, %ecx, (%rax)": 4,
    "movnti %rcx, (%rax)": 8,
    "movnti %ecx, (%rax)": 4,
    "movbe %ecx, (%rax)": 4,
    "push %rax": 8,
    "push %r12": 8,
    "push $3": 8,
    "pushq (%rax)": 8,
    "pushf": 8,
    "pop (%rax)": 8,
    "call . + 0x100": 8,
    "call *%rax": 8,
    "call *(%rax)": 8,
    "enter $16, $0": 8,
    "movups %xmm0, (%rax)": 16,
    "movaps %xmm9, (%rax)": 16,
    "movupd %xmm0, (%rax)": 16,
    "movss %xmm0, (%rax)": 4,
    "movsd %xmm0, (%rax)": 8,
    "movlps %xmm0, (%rax)": 8,
    "movhpd %xmm0, (%rax)": 8,
    "movdqa %xmm0, (%rax)": 16,
    "movdqu %xmm0, (%rax)": 16,
    "movd %xmm0, (%rax)": 4,
    "movq %xmm0, (%rax)": 8,
    "movq %mm0, (%rax)": 8,
    "movntps %xmm0, (%rax)": 16,
    "movntdq %xmm0, (%rax)": 16,
    "movntq %mm0, (%rax)": 8,
    "pextrb $1, %xmm0, (%rax)": 1,
    "pextrd $1, %xmm0, (%rax)": 4,
    "pextrq $1, %xmm0, (%rax)": 8,
    "extractps $1, %xmm0, (%rax)": 4,
    "stmxcsr (%rax)": 4,
    "vmovups %ymm0, (%rax)": 32,
    "vmovups %xmm0, (%rax)": 16,
    "vmovdqu %ymm12, (%r12)": 32,
    "vmovdqa %xmm0, (%rax)": 16,
    "vmovss %xmm0, (%rax)": 4,
    "vmovsd %xmm0, (%rax)": 8,
    "vmovd %xmm0, (%rax)": 4,
    "vmovq %xmm0, (%rax)": 8,
    "vmovntdq %ymm0, (%rax)": 32,
    "vextracti128 $1, %ymm0, (%rax)": 16,
    "vextractf128 $1, %ymm0, (%rax)": 16,
    "vcvtps2ph $0, %ymm0, (%rax)": 16,
    "vmovdqu64 %zmm0, (%rax)": 64,
    "vmovdqu8 %zmm20, (%rax)": 64,
    "vmovdqu32 %ymm20, 32(%rax)": 32,
    "vmovups %zmm1, (%rax)": 64,
    "vmovntdq %zmm1, (%rax)": 64,
    "vextracti64x4 $1, %zmm1, (%rax)": 32,
    "vpmovqb %zmm1, (%rax)": 8,
    "vpmovdw %zmm1, (%rax)": 32,
    "vmovdqu32 %zmm1, (%rax){%k1}": None,
    "kmovq %k1, (%rax)": 8,
    "kmovw %k1, (%rax)": 2,
    "fsts (%rax)": 4,
    "fstpl (%rax)": 8,
    "fstpt (%rax)": 10,
    "fistps (%rax)": 2,
    "fistpl (%rax)": 4,
    "fistpll (%rax)": 8,
    "fisttpll (%rax)": 8,
    "fnstcw (%rax)": 2,
    "fnstsw (%rax)": 2,
    "fxsave (%rax)": None,
    "xsave (%rax)": None,
    "vmaskmovps %ymm0, %ymm1, (%rax)": None,
    # No store at all.
    "mov (%rax), %rbx": None,
    "mov %rax, %rbx": None,
    "cmpl $1, (%rax)": None,
    "test %eax, (%rax)": None,
    "movups (%rax), %xmm0": None,
    "vmovdqu (%rax), %ymm0": None,
    "add (%rax), %rbx": None,
    "btl $3, (%rax)": None,
    "lods": None,
    "nop": None,
    "ret": None,
}


@pytest.fixture(scope="module")
def assembled(tmp_path_factory):
    """The bytes of each instruction, as objdump takes them apart."""
    directory = tmp_path_factory.mktemp("stores")
    texts = list(WIDTHS)
    source = directory / "a.s"
    source.write_text("".join(f"i{n}: {text}\n" for n, text in enumerate(texts)))
    subprocess.run(["as", "-o", directory / "a.o", source], check=True)
    listing = subprocess.run(
        ["objdump", "-dw", "--insn-width=15", directory / "a.o"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found, name = {}, None
    for line in listing.splitlines():
        label = re.match(r"[0-9a-f]+ <i(\d+)>:", line)
        if label:
            name = texts[int(label[1])]
        elif name and "\t" in line:
            found.setdefault(name, bytes.fromhex(line.split("\t")[1]))
    return found


def test_widths(assembled):
    arch = for_machine("x86_64")
    wrong = {
        text: (arch.store_width(code + b"\x90" * (15 - len(code))), WIDTHS[text], code.hex(" "))
        for text, code in assembled.items()
        if arch.store_width(code + b"\x90" * (15 - len(code))) != WIDTHS[text]
    }
    assert not wrong
    assert len(assembled) == len(WIDTHS)


def test_cut_short():
    arch = for_machine("x86_64")
    for code in (b"", b"\x48", b"\x0f", b"\x62\xf1", b"\xc4\xe1", b"\x66\x66"):
        assert arch.store_width(code) is None


def test_another_machine():
    with pytest.raises(UnsupportedError, match="riscv64"):
        for_machine("riscv64")


def test_system_calls():
    arch = for_machine("x86_64")
    assert arch.syscall_number("process_madvise") == 440
    assert arch.syscall_name(462) == "mseal"
    assert arch.syscall_name(9999) == "syscall_9999"
