"""Sourced inside gdb by tests: runs an inferior from hit to hit and notes each."""

import json
import os

import gdb


def functions():
    """Names of the selected thread's frames, the innermost first."""
    names = []
    frame = gdb.newest_frame()
    while frame is not None and len(names) < 20:
        names.append(frame.name())
        frame = frame.older()
    return names


def collect(path, end="finished", limit=4000):
    """Continue until the function `end`, or the limit; writes a JSON line a stop."""
    with open(path, "w") as out:
        for _ in range(limit):
            gdb.execute("continue")
            if not gdb.selected_inferior().pid:
                break
            names = functions()
            if names[0] == end:
                out.write(json.dumps({"end": True}) + "\n")
                break
            out.write(
                json.dumps(
                    {
                        "watch": int(gdb.convenience_variable("_uffd_watch") or 0),
                        "address": int(gdb.convenience_variable("_uffd_addr") or 0),
                        "tid": gdb.selected_thread().ptid[1],
                        "functions": names,
                    }
                )
                + "\n"
            )


def shared(offset, value):
    """Write a word of the control file, for inferiors without symbols."""
    fd = os.open(os.environ["PAGEZAP_TEST_CONTROL"], os.O_RDWR)
    os.pwrite(fd, value.to_bytes(4, "little"), offset)
    os.close(fd)
