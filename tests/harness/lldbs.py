"""The lldbs to test in."""

from __future__ import annotations

import dataclasses
import functools
import glob
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from harness import gdbs

DEBIAN = "/usr/lib/llvm-*/lib/python3.*/site-packages"
"""Where Debian has the module, beside a copy whose compiled part is elsewhere."""


@dataclasses.dataclass(frozen=True)
class Lldb:
    path: str
    version: str
    python_path: str

    @property
    def name(self) -> str:
        return "lldb" + self.version.split(".")[0]

    def environment(self, home: pathlib.Path) -> dict[str, str]:
        """As for gdb; lldb makes a folder in ``home``."""
        env = gdbs.environment(home)
        if self.python_path:
            env["PYTHONPATH"] = self.python_path
        return env


def _python_path(path: str) -> str:
    version = re.search(r"-(\d+)$", path)
    if version is None:
        return ""
    found = glob.glob(DEBIAN.replace("*", version[1], 1))
    return ":".join([*found, f"/usr/lib/llvm-{version[1]}/lib/python3/dist-packages/lldb"])


@functools.cache
def found() -> tuple[Lldb, ...]:
    """Return each lldb that is there and has Python, one of each version."""
    named = os.environ.get("PAGEZAP_LLDBS")
    paths = named.split(":") if named else ["/usr/bin/lldb-19", str(gdbs.BIN / "lldb")]
    lldbs: dict[str, Lldb] = {}
    for path in paths:
        if not shutil.which(path):
            continue
        lldb = Lldb(path, "", _python_path(path))
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(
                [path, "--batch", "--no-lldbinit", "-o", "version", "-o", "script print('PYTHON')"],
                capture_output=True,
                text=True,
                env=lldb.environment(pathlib.Path(home)),
                stdin=subprocess.DEVNULL,
                check=False,
            )
        match = re.search(r"lldb version (\d+\.\d+)", done.stdout)
        if done.returncode == 0 and match and "\nPYTHON" in done.stdout:
            lldbs.setdefault(match[1], dataclasses.replace(lldb, version=match[1]))
    return tuple(lldbs.values())
