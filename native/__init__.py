"""The native part: the helper, its client, and what reads page states.

Standard library only, so that it loads inside any debugger.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

__all__ = ["agent_image", "helper_path"]


def _environment_is_ours() -> bool:
    """Whether who started us had the rights that we have: not in a setuid or setgid program."""
    return len(set(os.getresuid())) == 1 and len(set(os.getresgid())) == 1


def _resource(name: str) -> Path:
    override = os.environ.get("PAGEZAP_NATIVE_DIR")
    if override and _environment_is_ours():
        return Path(override) / name
    return Path(str(files(__name__).joinpath(name)))


def helper_path() -> Path:
    """The helper's executable; PAGEZAP_NATIVE_DIR names another build's folder."""
    return _resource("pagezapd")


def agent_image() -> bytes:
    """The agent's code: one page at most, position independent, entered at offset 0."""
    return _resource("agent.bin").read_bytes()
