"""Write the C source of the cffi module: ``python build_module.py OUTPUT.c``.

API mode, for the stable ABI: one module serves every Python from 3.11 on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent


def builder() -> FFI:
    """Return the module's description."""
    ffi = FFI()
    ffi.cdef((HERE / "cdef.h").read_text(encoding="utf-8"))
    ffi.set_source(
        "pagezap.native._pagezap",
        (HERE / "csrc.h").read_text(encoding="utf-8"),
        py_limited_api=True,
    )
    return ffi


if __name__ == "__main__":
    builder().emit_c_code(sys.argv[1])
