"""The test inferior; the helper is the one that scripts/setup has built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test inferior, compiled."""
    out = tmp_path_factory.mktemp("inferior") / "inferior"
    subprocess.run(
        [
            "cc",
            "-O1",
            "-g",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pthread",
            "-o",
            out,
            HERE / "inferior.c",
            HERE / "mappings.c",
        ],
        check=True,
    )
    return out
