"""Bad input: one line that names the cause, and nothing changed."""

from __future__ import annotations

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest

from harness import drivers, gdbs, observe, programs
from harness.control import Control

NEEDS_INFERIOR = [
    "zap 0x1000, +4096",
    "zap --keep 0x1000, +4096",
    "refault --all",
    "uffd-watch 0x1000, +8",
    "process-madvise cold 0x1000, +4096",
    "pagemap-check",
    "pagemap-show",
]


def one_error(output, index, kind=None):
    """The failure of one command, as JSON."""
    result = output.json(index)
    assert result["ok"] is False, output
    error = result["error"]
    assert error["kind"], error
    assert error["message"]
    assert "\n" not in error["message"]
    assert "Traceback" not in output.stdout + output.stderr
    if kind is not None:
        assert error["kind"] in kind, error
    return error


def with_json(command):
    name, _, rest = command.partition(" ")
    return f"{name} --json {rest}".strip()


def refused(batch, commands, **how):
    """Run each command as text and as JSON; all fail, each with one line; gdb goes on."""
    lines = [line for command in commands for line in (command, with_json(command), "print 6 * 7")]
    output = batch.run(lines, **how)
    errors = []
    for number in range(len(commands)):
        text, _, alive = output.parts[3 * number : 3 * number + 3]
        assert text.strip() == "", (commands[number], text)
        assert "= 42" in alive
        errors.append(one_error(output, 3 * number + 1))
    complaints = output.complaints()
    messages = [error["message"] for error in errors]
    for message in messages:
        assert any(message in line for line in complaints), (message, complaints)
    return errors


def test_no_inferior(batch):
    errors = refused(batch, NEEDS_INFERIOR)
    assert {error["kind"] for error in errors} == {"no-inferior"}


def test_no_inferior_is_no_error_where_nothing_is_asked(batch):
    output = batch.run(["uffd-list --json", "uffd-release --json", "uffd-doctor --json"])
    assert output.json(0)["watches"] == []
    assert output.json(1)["ok"]
    assert output.json(2)["checks"]


def test_core_file(batch, inferiors, tmp_path):
    running = inferiors.start("keepmem.c", "65536")
    core = tmp_path / "core"
    drivers.Batch(batch.gdb, tmp_path, load=False).run(
        [f"generate-core-file {core}"], pid=running.pid
    )
    assert core.exists()
    base = running.control.base
    errors = refused(
        batch,
        [f"zap {base:#x}, +4096", f"zap --keep {base:#x}, +4096", f"uffd-watch {base:#x}, +8"],
        core=str(core),
    )
    assert {error["kind"] for error in errors} <= {"no-inferior", "core"}
    assert all("core" in error["message"] for error in errors)


@pytest.fixture
def keeper(inferiors):
    """An inferior that must not change."""
    running = inferiors.start("keepmem.c", "65536")
    before = running.control.checksum()
    yield running
    assert all(observe.present(running.pid, running.control.base, 65536))
    running.assert_clean()
    assert running.control.checksum() == before


RANGES = {
    "unmapped": "0x10000, +4096",
    "hole": "memory, +64G",
    "pointer": "memory",
    "empty": "memory, +0",
    "empty-end": "memory, memory",
    "backwards": "memory + 4096, memory",
    "wrapping": "memory, +0xfffffffffffff000",
    "vdso": "[vdso]",
    "vvar": "[vvar]",
    "constant": "42",
    "register": "$rip",
    "no-mapping": "[anon:nothing-has-this-name]",
    "no-path": "map:nothing-has-this-path",
    "no-symbol": "nothing_has_this_name",
    "nothing": "",
    "syntax": "memory +, +4096",
}


@pytest.mark.parametrize("command", ["zap", "zap --keep", "uffd-watch", "process-madvise dontneed"])
def test_ranges(batch, keeper, command):
    ranges = dict(RANGES)
    errors = refused(batch, [f"{command} {text}" for text in ranges.values()], pid=keeper.pid)
    found = dict(zip(ranges, errors, strict=True))
    pointer = found["pointer"]
    assert "memory" in pointer["message"] + pointer["hint"]
    assert pointer["hint"], "shows a form that would work"
    distinct = [
        found[name]["kind"] for name in ("unmapped", "pointer", "empty", "wrapping", "vdso")
    ]
    assert len(set(distinct)) == 5, distinct


@pytest.mark.parametrize(
    "command",
    [
        "zap --nonsense memory, +64K",
        "zap --ke=nowhere memory, +64K",
        "zap --round sideways memory, +64K",
        "zap --via carrier-pigeon memory, +64K",
        "zap --fill 4096 memory, +64K",
        "zap --fill /nonexistent/file memory, +64K",
        "refault --nonsense",
        "refault",
        "uffd-watch --condition '(' *ticker",
        "uffd-watch --thread 99 *ticker",
        "uffd-watch --ignore x *ticker",
        "uffd-watch --ignore -1 *ticker",
        "uffd-delete 99",
        "uffd-delete x",
        "uffd-enable 99",
        "uffd-disable 99",
        "uffd-trace nonsense",
        "uffd-trace export --format nonsense /nonexistent/file",
        "uffd-trace export --format csv /nonexistent/file",
        "process-madvise nonsense memory, +64K",
        "process-madvise",
        "pagemap-check --nonsense",
        "uffd-status nonsense",
        "uffd-release --nonsense",
    ],
)
def test_words(batch, keeper, command):
    refused(batch, [command], pid=keeper.pid)


def test_an_unknown_option_does_not_end_gdb(interactive, keeper):
    gdb = interactive(pid=keeper.pid)
    for command in ("zap --nonsense", "uffd-watch --", "pagemap-show -x", "zap --help", "zap -h"):
        gdb.command(command)
    assert "= 42" in gdb.command("print 6 * 7")
    gdb.quit()


def test_a_range_under_another_userfaultfd(batch, inferiors):
    running = inferiors.start("selfuffd.c")
    base, other = running.control.base, running.control.long("spare")
    before = observe.digest(running.pid, base, 65536)
    errors = refused(
        batch,
        [
            f"zap --keep {base:#x}, +64K",
            f"uffd-watch {base:#x}, +8",
            f"zap {base:#x}, +64K",
        ],
        pid=running.pid,
    )
    assert all("userfaultfd" in error["message"] for error in errors), errors
    assert observe.digest(running.pid, base, 65536) == before
    assert all(observe.present(running.pid, other, 65536))


def test_a_32_bit_inferior(batch, inferiors):
    running = inferiors.start_bare("m32.c", "m32")
    errors = refused(
        batch,
        ["zap buffer, +65536", "zap --keep buffer, +65536", "uffd-watch buffer, +8"],
        pid=running.pid,
    )
    assert all("32" in error["message"] for error in errors), errors
    assert observe.alive(running.pid)


def test_a_seccomp_filter(batch, inferiors):
    running = inferiors.start("seccomp.c")
    before = running.control.checksum()
    errors = refused(
        batch,
        ["zap --keep memory, +64K", "uffd-watch memory, +8", "zap memory, +64K"],
        pid=running.pid,
    )
    assert all("seccomp" in error["message"] for error in errors), errors
    running.assert_clean()
    assert running.control.checksum() == before


def reachable(path, user):
    done = subprocess.run(
        ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups",
         path, "--version"],
        capture_output=True, check=False, env=gdbs.environment(),
    )  # fmt: skip
    return done.returncode == 0


def test_no_privilege(gdb, inferiors):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become another user")
    user = pwd.getpwnam("nobody")
    if not reachable(gdb.path, user):
        pytest.skip(f"{gdb.path} cannot be run by {user.pw_name}")
    with open("/proc/sys/vm/unprivileged_userfaultfd") as file:
        if file.read().strip() != "0":
            pytest.skip("this machine allows userfaultfd to everybody")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = pathlib.Path(name)
        program = directory / "keepmem"
        shutil.copy(programs.build("keepmem.c"), program)
        control = Control(directory / "control")
        for path in (directory, control.path, program):
            os.chown(path, user.pw_uid, user.pw_gid)
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        process = subprocess.Popen([*as_user, str(program), str(control.path), "65536"])
        running = inferiors.track(process, control)
        control.wait("ready")
        before = control.checksum()
        running.before = observe.snapshot(running.pid)
        batch = drivers.Batch(gdb, directory)
        os.chmod(batch.setup, 0o644)
        errors = refused(
            batch,
            ["zap --keep memory, +64K", "uffd-watch memory, +8"],
            pid=running.pid,
            prefix=as_user,
        )
        assert {error["kind"] for error in errors} == {"permission"}, errors
        assert all(error["hint"] for error in errors)
        running.assert_clean()
        assert control.checksum() == before


def test_a_kernel_without_userfaultfd(batch, keeper):
    wrapper = programs.build("no_uffd.c")
    errors = refused(
        batch,
        ["zap --keep memory, +64K", "uffd-watch memory, +8"],
        pid=keeper.pid,
        prefix=[str(wrapper)],
    )
    assert all("userfaultfd" in error["message"] for error in errors), errors


def test_the_helper_is_missing(batch, keeper, tmp_path):
    empty = tmp_path / "native"
    empty.mkdir()
    errors = refused(
        batch,
        ["zap --keep memory, +64K", "uffd-watch memory, +8"],
        pid=keeper.pid,
        env={"PAGEZAP_NATIVE_DIR": str(empty)},
    )
    assert all(error["kind"].startswith("helper") for error in errors), errors
    assert all("pagezapd" in error["message"] for error in errors)


def test_text_errors_are_one_line(batch, keeper):
    output = batch.run(["zap memory", "print 6 * 7"], pid=keeper.pid)
    assert len(output.complaints()) == 1, output
    assert "= 42" in output.parts[1]


def test_a_script_stops_at_a_failed_command(batch, keeper):
    output = batch.run(["zap memory", "print 6 * 7"], pid=keeper.pid, script=True)
    assert "= 42" not in output.stdout
    assert output.complaints()
