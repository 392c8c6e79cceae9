"""A terminal, a batch and a front end see the same hits, in the same order."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from harness import drivers, gdbs, hits
from harness.drivers import json_of

AFTER_EACH = [
    'printf "%d %ld\\n", $_uffd_watch, (long)$_uffd_addr - (long)page',
    "frame",
    "x/2xb $_uffd_addr",
    "uffd-list --json",
    "uffd-status --json",
]
COMMANDS = [
    "zap --keep --json *page",
    "uffd-watch page->watched",
    "uffd-watch --trace page->after",
    "set var control->go = 1",
    *(["continue", *AFTER_EACH] * 3),
    "uffd-trace show --json",
    "refault --json --all",
    "uffd-release --json",
]
VOLATILE = {"elapsed_us", "time_us", "helper", "agent", "start", "address", "pid", "tid", "pc"}


def stable(value):
    """What two runs have in common: no times, no ids, no addresses."""
    if isinstance(value, dict):
        return {
            key: stable(each)
            for key, each in value.items()
            if key not in VOLATILE and not key.endswith(("_us", "_kib", "_s"))
        }
    if isinstance(value, list):
        return [stable(each) for each in value]
    return value


def seen(parts, base):
    """A transcript as values that can be compared."""
    found = []
    for command, text in zip(COMMANDS, parts, strict=True):
        if "--json" in command:
            found.append(stable(json_of(text)))
        elif command == "continue":
            found.append(
                [
                    (hit.watch, hit.address - base, hit.old, hit.new, hit.access)
                    for hit in hits.shown(text)
                ]
            )
        elif command == "frame":
            where = text[text.index("write_into") :] if "write_into" in text else text
            found.append(re.sub(r"0x[0-9a-f]+", "0x…", where).strip())
        elif command.startswith("x/"):
            found.append(text.partition(":")[2].split())
        elif command.startswith("printf"):
            found.append(text.strip())
    return found


def transcript(kind, gdb, directory, inferiors):
    running = inferiors.start("neighbours.c", "20", variant="nopie")
    base = running.control.base
    if kind == "batch":
        output = drivers.Batch(gdb, directory).run(COMMANDS, pid=running.pid)
        assert len(output.parts) == len(COMMANDS), output
        parts = output.parts
    else:
        driver = (drivers.Interactive if kind == "interactive" else drivers.Mi)(
            gdb, directory, pid=running.pid
        )
        try:
            parts = driver.run(COMMANDS)
            driver.quit()
        finally:
            driver.close()
    running.assert_clean()
    return seen(parts, base)


def test_the_same_hits_in_each_mode(gdb, tmp_path, inferiors):
    batch = transcript("batch", gdb, tmp_path, inferiors)
    assert sum(1 for each in batch if isinstance(each, list) and each and len(each) == 1) >= 3
    assert transcript("interactive", gdb, tmp_path, inferiors) == batch
    assert transcript("mi", gdb, tmp_path, inferiors) == batch


def execute(gdb, *words, timeout=100):
    return subprocess.run(
        [gdbs.PAGEZAP, "exec", "--debugger-path", gdb.path, *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=gdbs.environment(),
        check=False,
    )


def test_exec_prints_one_object_a_command(gdb, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    before = running.control.checksum()
    commands = [
        f"zap --keep {running.control.base:#x}, +64K",
        "uffd-watch *ticker",
        "set var control->go = 1",
        "continue",
        "uffd-list",
    ]
    words = [word for command in commands for word in ("-c", command)]
    done = execute(gdb, "--pid", str(running.pid), "--json", *words)
    assert done.returncode == 0, done.stderr
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["command"].split()[0] for each in objects] == [
        "zap",
        "uffd-watch",
        "set",
        "continue",
        "uffd-list",
    ]
    assert all(each["ok"] for each in objects)
    stop = objects[3]["stop"]
    assert stop["reason"] == "uffd-watch"
    assert stop["watch"] == 1
    assert stop["address"] == running.control.long("spare")
    assert stop["access"] == "write"
    assert stop["symbol"].startswith("tick")
    assert bytes.fromhex(stop["old"])[0] == 0
    assert bytes.fromhex(stop["new"])[0] == 1
    assert objects[4]["watches"][0]["hits"] == 1
    running.control.runs_on()
    running.assert_clean()
    assert running.control.checksum() == before


def test_exec_status_tells_failure_from_bad_usage(gdb, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    done = execute(gdb, "--pid", str(running.pid), "--json", "-c", "zap --nonsense memory, +4K")
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["ok"] is False
    assert execute(gdb, "--pid").returncode == 2
    assert execute(gdb, "--pid", "1", "--", "true").returncode == 2
    running.assert_clean()


def test_exec_runs_a_program_and_a_file(gdb, inferiors, tmp_path):
    control = inferiors.control()
    control.set_word("quit", 1)
    script = tmp_path / "script.gdb"
    script.write_text("break main\nrun\nuffd-status\n")
    program = inferiors.program("keepmem.c")
    done = execute(
        gdb,
        "-x",
        str(script),
        "-c",
        "continue",
        "--json",
        "--",
        str(program),
        str(control.path),
        "65536",
    )
    assert done.returncode == 0, done.stderr
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert objects[-1]["stop"]["reason"] == "exited"


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_outside_words(word):
    done = subprocess.run([gdbs.PAGEZAP, word], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "pagezap" in done.stdout


def test_init_is_one_line_that_loads(gdb, tmp_path):
    line = gdbs.load_line()
    assert len(line.splitlines()) == 1
    output = drivers.Batch(gdb, tmp_path).run(["help zap", "help uffd-watch"])
    assert "--keep" in output.parts[0]
    assert "--trace" in output.parts[1]
    assert output.stderr == ""
