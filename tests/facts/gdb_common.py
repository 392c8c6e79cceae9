"""Loaded inside gdb, before the script of a test."""

import json
import os
import pathlib
import subprocess
import sys  # noqa: F401 - the tests' scripts use it

import gdb

GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")
REGISTERS = (*GENERAL, *(f"r{n}" for n in range(8, 16)), "rip", "eflags", "orig_rax")
INFERIOR = gdb.selected_inferior()


def fact(key, value):
    with open(os.environ["FACTS_OUT"], "a") as out:
        out.write(json.dumps([key, value]) + "\n")


def states():
    pid = gdb.selected_inferior().pid
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        stat = pathlib.Path(f"/proc/{pid}/task/{tid}/stat").read_text()
        found.append(stat.rpartition(")")[2].split()[0])
    return "".join(sorted(found))


def send(tid, signal, value=0):
    subprocess.run(
        [os.environ["FACTS_SEND"], str(INFERIOR.pid), str(tid), str(signal), str(value)],
        check=True,
    )


def registers():
    frame = gdb.newest_frame()
    return {name: int(frame.read_register(name)) & (2**64 - 1) for name in REGISTERS}


def set_register(name, value):
    gdb.execute(f"set ${name} = {value}", to_string=True)


def vdso_syscall():
    maps = pathlib.Path(f"/proc/{INFERIOR.pid}/maps").read_text()
    line = next(line for line in maps.splitlines() if line.endswith("[vdso]"))
    start, end = (int(part, 16) for part in line.split()[0].split("-"))
    return start + bytes(INFERIOR.read_memory(start, end - start)).index(b"\x0f\x05")


def inject(number, *arguments):
    saved = registers()
    gdb.execute("set scheduler-locking on")
    set_register("orig_rax", -1)
    for name, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments, strict=False):
        set_register(name, value)
    set_register("rax", number)
    set_register("rip", vdso_syscall())
    gdb.execute("stepi", to_string=True)
    result = int(gdb.newest_frame().read_register("rax"))
    for name in REGISTERS:
        set_register(name, saved[name])
    gdb.execute("set scheduler-locking replay")
    return result
