"""The line for a debugger's start-up file, right for this install."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path


def line() -> str:
    """Return the line for ~/.gdbinit.

    ``site.addsitedir`` and not ``sys.path``: an editable install works through a .pth
    file, which a bare path entry does not process.
    """
    return (
        f"python import site; site.addsitedir({str(directory())!r}); "
        "import pagezap.commands.load_gdb"
    )


def directory() -> Path:
    """Return the folder that makes ``pagezap`` importable."""
    try:
        installed = metadata.distribution("pagezap")
    except metadata.PackageNotFoundError:
        # Not installed: a folder that holds the namespace, without resolving its links.
        return Path(__file__).absolute().parents[3]
    return Path(str(installed.locate_file(""))).absolute()
