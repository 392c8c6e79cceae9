"""The program that several of these tests run under gdb from its start."""

from __future__ import annotations

import pytest

from harness import programs


@pytest.fixture(scope="session")
def program():
    """Where the binary of inferiors/adder.c is."""
    return str(programs.build("adder.c"))
