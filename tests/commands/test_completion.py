"""Where there are too many names, completion offers the program's own."""

from __future__ import annotations

import subprocess

import pytest

from harness import gdbs
from harness.programs import compile_c

LIBRARY = "\n".join(f"int item_{number:03}(void) {{ return {number}; }}" for number in range(400))
PROGRAM = """
long item_of_all = 1;
static long item_of_file = 2;
int item_000(void);
int item_called(void) { return 1; }
int main(void)
{
    long item_of_main = item_000();
    {
        long item_of_block = item_of_main;
        return item_of_block + item_of_all + item_of_file + item_called() == -1;
    }
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    for name, text, options in (
        ("libitems.so", LIBRARY, ["-shared", "-fPIC"]),
        ("program", PROGRAM, ["-L.", "-litems", "-Wl,-rpath,$ORIGIN"]),
        ("bare", PROGRAM, ["-g0", "-L.", "-litems", "-Wl,-rpath,$ORIGIN"]),
    ):
        compile_c(folder, text, *options, name=name)
    return folder


def completed(gdb, program, *commands):
    """What each `complete` command offers, after a stop in main's block."""
    steps = [gdbs.load_line(), *commands, "kill"]
    done = subprocess.run(
        [gdb.path, "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off",
         *(word for each in steps for word in ("-ex", each)), program],
        capture_output=True, text=True, timeout=60, check=False, env=gdbs.environment(),
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def test_the_programs_own_names_are_offered(gdb, folder):
    place = 1 + PROGRAM.splitlines().index(
        "        return item_of_block + item_of_all + item_of_file + item_called() == -1;"
    )
    offered = completed(
        gdb, folder / "program", f"break {place}", "run",
        "complete uffd-watch *it", "complete zap &item_", "complete uffd-watch --condition item_",
    )  # fmt: skip
    for begin in ("uffd-watch *", "zap &", "uffd-watch --condition "):
        names = [line.removeprefix(begin) for line in offered if line.startswith(begin)]
        own = {f"item_{name}" for name in ("of_all", "of_file", "of_main", "of_block", "called")}
        assert own <= set(names), names
        assert len(names) == len(set(names)) == 100


def test_they_are_without_debug_information(gdb, folder):
    offered = completed(gdb, folder / "bare", "break main", "run", "complete uffd-watch *item_")
    assert {f"uffd-watch *item_{name}" for name in ("of_all", "of_file", "called")} <= set(offered)
    assert sum(line.startswith("uffd-watch *") for line in offered) == 100


def test_nothing_is_called_for_it(gdb, tmp_path):
    """A function's name in C++ looks like a call of it."""
    source = tmp_path / "program.cpp"
    source.write_text(
        "int calls; namespace n {\n"
        + "\n".join(f"int item_{number:03}() {{ return ++calls; }}" for number in range(150))
        + "}\nint main() { return calls; }\n"
    )
    subprocess.run(["g++", "-g", "-o", tmp_path / "program", source], check=True)
    offered = completed(
        gdb, tmp_path / "program", "break main", "run", "complete uffd-watch n::item_",
        "print calls",
    )  # fmt: skip
    assert sum(line.startswith("uffd-watch n::item_") for line in offered) == 100
    assert "$1 = 0" in offered


def test_of_an_inferior(batch, started):
    output = batch.run(
        [
            "uffd-watch buf, +8",
            "complete zap --k",
            "complete zap --round o",
            "complete process-madvise po",
            "complete uffd-delete ",
            "complete zap [he",
            "complete zap nod",
            "complete uffd-trace ex",
            "complete zap [",
        ],
        pid=started.pid,
    )
    lines = [part.split("\n") for part in output.parts]
    assert "zap --keep" in lines[1]
    assert "zap --round out" in lines[2]
    assert {"process-madvise populate_read", "process-madvise populate_write"} <= set(lines[3])
    assert "uffd-delete 1" in lines[4]
    assert "zap [heap]" in lines[5]
    assert "zap nodes" in lines[6]
    assert "uffd-trace export" in lines[7]
    assert [line for line in lines[8] if line] == ["zap [anon:", "zap [heap]", "zap [stack]"]
