"""A wheel, in a fresh environment, loads in each debugger; so does the editable install."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile

import pytest

from harness import drivers, gdbs

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Build the wheel from what is in the tree."""
    directory = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--config-settings", f"build-dir={directory}/build",
         "--wheel-dir", str(directory), str(gdbs.ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = directory.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Install it with its dependencies where nothing else is."""
    directory = tmp_path_factory.mktemp("fresh")
    venv.create(directory, with_pip=True)
    done = subprocess.run(
        [directory / "bin" / "python", "-m", "pip", "install", "--quiet", f"{wheel}[gdb]"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return directory


def test_the_wheel_is_one_for_every_python(wheel):
    assert "-cp311-abi3-linux_x86_64.whl" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert "pagezap/native/pagezapd" in names
    assert any(name.startswith("pagezap/native/_pagezap") for name in names)
    assert "pagezap/commands/load_gdb.py" in names
    assert "pagezap/__init__.py" not in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pagezap"}
    assert not [name for name in names if name.endswith((".c", ".h", ".S", ".ld", ".pyc", ".a"))]


def test_the_helper_can_be_executed(installed):
    (helper,) = installed.glob("lib/python3*/site-packages/pagezap/native/pagezapd")
    assert os.access(helper, os.X_OK)
    done = subprocess.run([helper, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "0.1.0" in done.stdout


def test_it_loads_and_works_in_gdb(installed, gdb, tmp_path, inferiors):
    line = subprocess.run(
        [installed / "bin" / "pagezap", "init", "gdb"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert len(line.splitlines()) == 1
    assert str(installed) in line
    running = inferiors.start("keepmem.c", "65536")
    before = running.control.checksum()
    if gdb.path.startswith(str(gdbs.BIN)):
        # A gdb from PyPI sees what its own environment has: so take the fresh one's.
        gdb = gdbs.Gdb(str(installed / "bin" / "gdb"), gdb.version)
    batch = drivers.Batch(gdb, tmp_path, load=False)
    output = batch.run(
        [
            line.strip(),
            "zap --keep --json memory, +64K",
            "python import pagezap.native; print(pagezap.native.__file__)",
        ],
        pid=running.pid,
    )
    assert output.json(1)["ok"], output
    assert str(installed) in output.parts[2]
    running.assert_clean()
    assert running.control.checksum() == before


def test_the_cffi_module_imports(installed):
    done = subprocess.run(
        [installed / "bin" / "python", "-c", "from pagezap.native import _pagezap; _pagezap.lib"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_loading_leaves_the_current_directory_alone(batch, tmp_path):
    """A folder called `commands` where gdb is started is not ours."""
    trap = tmp_path / "commands"
    trap.mkdir()
    (trap / "__init__.py").write_text("raise RuntimeError('imported the wrong commands')\n")
    output = batch.run([f"cd {tmp_path}", "help zap", "print 6 * 7"])
    assert "--keep" in output.parts[1]
    assert output.stderr == ""
