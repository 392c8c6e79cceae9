"""Builds the inferiors, once each, into a folder that outlives the run."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import shutil
import subprocess

import pytest

from harness.gdbs import ROOT

SOURCES = ROOT / "tests" / "inferiors"
CACHE = pathlib.Path(os.environ.get("PAGEZAP_TEST_CACHE", ROOT / ".cache" / "inferiors"))

C = ["gcc", "-std=gnu11", "-g", "-pthread", "-Wall", "-Wextra"]
VARIANTS = {
    "pie": [*C, "-O0", "-fPIE", "-pie"],
    "nopie": [*C, "-O0", "-fno-pie", "-no-pie"],
    "static": [*C, "-O0", "-static"],
    "static-stripped": [*C, "-O0", "-static", "-s"],
    "m32": ["gcc", "-m32", "-ffreestanding", "-fno-pic", "-no-pie", "-nostdlib", "-static"],
    "c++": ["g++", "-g", "-O1", "-Wall", "-Wextra"],
    "rust": ["rustc", "-g", "-O"],
    "go": ["go", "build"],
    "bench": [*C, "-O2"],
}


def compile_c(folder: pathlib.Path, text: str, *options: str, name: str = "program") -> str:
    """Return the path of the program of a test's own C text, built in ``folder``."""
    (folder / f"{name}.c").write_text(text)
    command = ["gcc", "-g", "-O0", "-pthread", "-o", name, f"{name}.c", *options]
    subprocess.run(command, cwd=folder, check=True)
    return str(folder / name)


@functools.cache
def build(source: str, variant: str = "pie") -> pathlib.Path:
    """Return the binary of ``source`` (a file's name); skips the test without a compiler."""
    command = VARIANTS[variant]
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]} on this machine")
    file = SOURCES / source
    content = file.read_bytes() + (SOURCES / "control.h").read_bytes()
    key = hashlib.sha256(content + repr(command).encode()).hexdigest()[:12]
    binary = CACHE / f"{file.stem}-{variant}-{key}"
    if binary.exists():
        return binary
    CACHE.mkdir(parents=True, exist_ok=True)
    fresh = CACHE / f"{binary.name}.{os.getpid()}"
    env = dict(os.environ)
    env.setdefault("GOCACHE", str(CACHE / "go"))
    env.setdefault("GOFLAGS", "-mod=mod")
    env["HOME"] = env.get("HOME") or str(CACHE)
    done = subprocess.run(
        [*command, "-o", str(fresh), str(file)],
        capture_output=True,
        text=True,
        env=env,
        cwd=CACHE,
        check=False,
    )
    if done.returncode != 0:
        if variant in ("m32", "rust", "go"):
            pytest.skip(f"{command[0]} cannot build {source} for {variant} here")
        pytest.fail(f"{source} ({variant}) does not build:\n{done.stderr}")
    fresh.rename(binary)
    return binary
