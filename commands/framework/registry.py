"""Which commands there are, and how they come into a debugger."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pagezap.commands.framework.boundary import invoke
from pagezap.commands.framework.help import help_text
from pagezap.debugger.api import CommandSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.command import Command
    from pagezap.commands.session.context import Context

COMMANDS = (
    ("zap", "Zap"),
    ("refault", "Refault"),
    ("uffd_watch", "UffdWatch"),
    ("uffd_list", "UffdList"),
    ("uffd_delete", "UffdDelete"),
    ("uffd_enable", "UffdEnable"),
    ("uffd_disable", "UffdDisable"),
    ("uffd_trace", "UffdTrace"),
    ("process_madvise", "ProcessMadvise"),
    ("pagemap_check", "PagemapCheck"),
    ("pagemap_show", "PagemapShow"),
    ("uffd_status", "UffdStatus"),
    ("uffd_release", "UffdRelease"),
    ("uffd_doctor", "UffdDoctor"),
)
"""Module and class of each command, in the order of the documentation."""

NAMES = tuple(module.replace("_", "-") for module, _ in COMMANDS)
"""The commands' names; a module is named after its command."""


def all_commands() -> list[Command]:
    """Return one object of every command."""
    return [_load(module, name) for module, name in COMMANDS]


def _load(module: str, name: str) -> Command:
    kind: type[Command] = getattr(import_module(f"pagezap.commands.{module}"), name)
    return kind()


def register(context: Context) -> None:
    """Add every command to the context's debugger."""
    for command in all_commands():
        context.debugger.add_command(_spec(command, context))


def _spec(command: Command, context: Context) -> CommandSpec:
    def run(text: str) -> None:
        invoke(command, context, text)

    def complete(text: str, word: str) -> Sequence[str]:
        from pagezap.commands.framework import completion

        return completion.complete(command, context, text, word)

    return CommandSpec(name=command.name, help=help_text(command), invoke=run, complete=complete)
