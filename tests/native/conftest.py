"""The native part as built from this tree, and the test inferior."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def _build() -> Path:
    """The folder with the helper: PAGEZAP_NATIVE_DIR, or a build of this tree."""
    named = os.environ.get("PAGEZAP_NATIVE_DIR")
    if named:
        return Path(named)
    build = Path(os.environ.get("PAGEZAP_BUILD_DIR", "/tmp/pagezap-native-build"))
    subprocess.run(
        ["cmake", "-G", "Ninja", "-S", ROOT, "-B", build], check=True, stdout=subprocess.DEVNULL
    )
    subprocess.run(["cmake", "--build", build], check=True, stdout=subprocess.DEVNULL)
    return build / "pagezap" / "native"


def _import_tree() -> None:
    """Make this tree's native/ importable as pagezap.native where nothing is installed."""
    if importlib.util.find_spec("pagezap") and importlib.util.find_spec("pagezap.native"):
        return
    links = Path("/tmp/pagezap-native-links") / "pagezap"
    links.mkdir(parents=True, exist_ok=True)
    if not (links / "native").is_symlink():
        (links / "native").symlink_to(ROOT / "native")
    sys.path.insert(0, str(links.parent))


_import_tree()
os.environ["PAGEZAP_NATIVE_DIR"] = str(_build())
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
        ],
        check=True,
    )
    return out
