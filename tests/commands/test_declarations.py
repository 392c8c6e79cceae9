"""Every command is declared whole: help, usage, docs and names fit together."""

from __future__ import annotations

import pathlib

import pytest

from pagezap.commands.framework import docs
from pagezap.commands.framework.help import WIDTH, help_text
from pagezap.commands.framework.registry import NAMES, all_commands

COMMANDS = all_commands()


def test_names_are_those_of_their_modules() -> None:
    assert tuple(command.name for command in COMMANDS) == NAMES


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_help_is_whole_and_narrow(command: object) -> None:
    text = help_text(command)
    assert text.isascii(), "gdb may run without a character set"
    assert all(len(line) <= WIDTH for line in text.splitlines())
    for option in command.options:
        assert f"--{option.name}" in text
    for example, _ in command.examples:
        assert example.split()[0] == command.name


def test_page_is_up_to_date() -> None:
    page = pathlib.Path(docs.__file__).resolve().parents[2] / "docs" / "commands.md"
    assert page.read_text(encoding="utf-8") == docs.page(), (
        "run python -m pagezap.commands.framework.docs docs/commands.md"
    )
