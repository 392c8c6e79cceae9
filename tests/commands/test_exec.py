"""`pagezap exec`: commands in a real gdb, their JSON, their exit status."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from harness import gdbs, observe
from harness.programs import compile_c
from pagezap.commands.framework.registry import NAMES

PROGRAM = r"""
#include <stdio.h>
int counter;
void tick(void) { counter++; }
int main(int argc, char **argv)
{
    char line[64] = "";
    printf("hello %s\n", argc > 1 ? argv[1] : "");
    for (int i = 0; i < 3; i++)
        tick();
    if (argc > 2 && fgets(line, sizeof(line), stdin))
        printf("read %s", line);
    return 3;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("exec"), PROGRAM)


@pytest.fixture
def execute(gdb, tmp_path):
    def call(*words, stdin=""):
        return subprocess.run(
            [gdbs.PAGEZAP, "exec", "--debugger-path", gdb.path, *words],
            capture_output=True,
            text=True,
            input=stdin,
            env=gdbs.environment(tmp_path),
            timeout=100,
            check=False,
        )

    return call


def objects(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_one_object_a_command(execute, program):
    done = execute(
        "--json", "-c", "break tick", "-c", "run", "-c", "print counter", "-c", "uffd-list",
        "-c", "delete", "-c", "continue", "--", program, "a b",
    )  # fmt: skip
    assert done.returncode == 0, done
    found = objects(done)
    assert [each["command"] for each in found] == [
        "break tick", "run", "print counter", "uffd-list", "delete", "continue",
    ]  # fmt: skip
    assert all(each["ok"] for each in found)
    stop = found[1]["stop"]
    assert stop["reason"] == "breakpoint"
    assert stop["breakpoint"] == 1
    assert stop["symbol"].startswith("tick")
    assert stop["tid"] > 0
    assert {"watch", "address", "access", "old", "new"} <= set(stop)
    assert found[2]["output"] == "$1 = 0\n"
    assert found[2]["stop"] is None
    assert found[3]["watches"] == []
    assert found[5]["stop"]["reason"] == "exited"
    assert found[5]["stop"]["exit_code"] == 3
    assert "hello a b" in done.stderr


def test_a_failed_command_gives_status_1_and_the_next_one_runs(execute, program):
    done = execute(
        "--json", "-c", "nonsense", "-c", "zap --nonsense", "-c", "print 6*7", "--", program
    )
    assert done.returncode == 1
    first, second, third = objects(done)
    assert first["ok"] is False
    assert "nonsense" in first["error"]["message"]
    assert second["error"]["kind"] == "unknown-option"
    assert third["output"] == "$1 = 42\n"


def test_text_goes_to_standard_output(execute, program):
    done = execute("-c", "print 6*7", "-c", "uffd-list", "-c", "run", "--", program)
    assert done.returncode == 0
    assert "$1 = 42" in done.stdout
    assert "No uffd watchpoints." in done.stdout
    assert "hello" not in done.stdout
    assert "hello" in done.stderr


def test_scripts_and_blocks(execute, program, tmp_path):
    script = tmp_path / "script.gdb"
    script.write_text(
        "# a comment\npython\nfor i in range(2):\n    print(i)\nend\n\n"
        "define twice\nif 1\nprint $arg0 * 2\nend\nend\ntwice 21\n"
    )
    failing = tmp_path / "failing.gdb"
    failing.write_text("print 1\nnonsense\nprint 2\n")
    done = execute("--json", "-x", str(script), "-x", str(failing), "-c", "print 3", "--", program)
    assert done.returncode == 1
    outputs = [each["output"] for each in objects(done)]
    assert outputs[:3] == ["0\n1\n", "", "$1 = 42\n"]
    assert outputs[3:] == ["$2 = 1\n", "", "$3 = 3\n"]


def test_help_of_each_command(execute):
    words = [word for name in NAMES for word in ("-c", f"{name} -h")]
    done = execute("--json", *words, "-c", "uffd-trace show -h", "--", "true")
    assert done.returncode == 0, done
    found = objects(done)
    assert [each["command"] for each in found] == [*NAMES, "uffd-trace"]
    assert all("Usage: " + each["command"] in each["help"] for each in found)


QUITS = "define leave\nquit $arg0\nend\n"


@pytest.mark.parametrize(
    ("last", "status", "ok"),
    [
        ("quit", 0, True),
        ("quit 3", 3, True),
        ("q(1+1)", 2, True),
        ("exit", 0, True),
        ("leave 0", 0, True),
        ("leave 4", 4, False),
        ("python import os; os.kill(os.getpid(), 9)", 1, False),
    ],
)
@pytest.mark.parametrize("how", ["-c", "-x"])
def test_quit_is_an_end(execute, program, tmp_path, how, last, status, ok):
    script = tmp_path / "script.gdb"
    script.write_text(f"{QUITS}print 1\n{last}\nprint 2\n")
    words = ["-x", str(script)] if how == "-x" else ["-c", QUITS, "-c", "print 1", "-c", last]
    done = execute("--json", *words, "-c", "print 3", "--", program)
    assert done.returncode == status, done
    _, first, end = objects(done)
    assert first["output"] == "$1 = 1\n"
    assert (end["command"], end["ok"]) == (last, ok)
    assert ("unexpectedly" in done.stderr) is not ok
    assert execute(*words, "--", program).stdout == "$1 = 1\n"


def test_quit_forgets_no_failure_and_lets_go(execute, inferiors):
    running = inferiors.start("keepmem.c", "1048576")
    before = running.control.checksum()
    done = execute("--json", "--pid", str(running.pid), "-c", "nonsense",
                   "-c", f"zap --keep {running.control.base:#x}, +1M", "-c", "quit")  # fmt: skip
    assert done.returncode == 1, done
    assert [each["ok"] for each in objects(done)] == [False, True, True], done
    running.assert_clean()
    assert running.control.checksum() == before


def test_what_a_body_says_opens_no_block(execute, program, tmp_path):
    script = tmp_path / "script.gdb"
    script.write_text(
        "python\nfor i in range(3):\n    if i == 1:\n        print(i)\nend\n"
        "define twice\nprint $arg0 * 2\nend\n"
        "document twice\nTwice a number.\nwhile you wait\nend\n"
        "print 1 + \\\n 2\n"
        "compile file\n"
    )
    done = execute("--json", "-x", str(script), "-c", "twice 21", "-c", "help twice",
                   "--", program)  # fmt: skip
    found = objects(done)
    assert [each["ok"] for each in found] == [True] * 4 + [False] + [True] * 2, done
    assert [each["output"] for each in found[:4]] == ["1\n", "", "", "$1 = 3\n"]
    assert found[5]["output"] == "$2 = 42\n"
    assert "Twice a number.\nwhile you wait" in found[6]["output"]


def test_the_program_reads_our_input_and_gets_no_descriptor_of_ours(execute, program):
    done = execute("-c", "break tick", "-c", "run", "-c", "info proc", "-c", "delete", "-c",
                   "continue", "--", program, "x", "y", stdin="from outside\n")  # fmt: skip
    assert "read from outside" in done.stderr
    done = execute("--json", "-c", "break tick", "-c", "run",
                   "-c", "python import os; print(sorted(os.listdir("
                   "f'/proc/{gdb.selected_inferior().pid}/fd')))",
                   "--", program)  # fmt: skip
    assert objects(done)[2]["output"] == "['0', '1', '2']\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-c", "print 1"],
        ["--pid", "1", "--", "ls"],
        ["--pid", "x"],
        ["--nonsense", "--", "ls"],
        ["-x", "/nonexistent/script", "--", "ls"],
        ["--core", "file", "-c", "print 1"],
        ["--", "/nonexistent/program"],
    ],
)
def test_bad_usage_is_status_2(execute, words):
    done = execute(*words)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_no_process(execute):
    done = execute("--pid", "4194000", "--json", "-c", "print 1")
    assert done.returncode == 1
    (only,) = objects(done)
    assert only["ok"] is False
    assert only["error"]["kind"] == "attach"


def test_a_process_runs_on_and_is_as_before(execute, inferiors):
    running = inferiors.start("keepmem.c", "1048576")
    before = running.control.checksum()
    done = execute(
        "--json", "--pid", str(running.pid),
        "-c", f"zap --keep {running.control.base:#x}, +1M",
        "-c", "uffd-status",
    )  # fmt: skip
    assert done.returncode == 0, done
    kept, status = objects(done)
    assert kept["ranges"][0]["kept"] == 256
    assert status["kept_pages"] == 256
    assert status["inferior"]["pid"] == running.pid
    running.assert_clean()
    running.control.runs_on()
    assert running.control.checksum() == before


def test_a_watch_stop_is_told_in_full(execute, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    running.control.go()
    ticker = running.control.long("spare")
    done = execute(
        "--json", "--pid", str(running.pid), "-c", f"uffd-watch {ticker:#x}, +8", "-c", "continue",
        "-c", "print $_uffd_watch", "-c", "print/x $_uffd_addr", "-c", "uffd-list",
    )  # fmt: skip
    assert done.returncode == 0, done
    watch, go, number, address, listed = objects(done)
    stop = go["stop"]
    assert stop["reason"] == "uffd-watch"
    assert (stop["watch"], stop["address"]) == (watch["watch"]["id"], ticker)
    assert stop["access"] == "write"
    assert stop["tid"] in observe.tids(running.pid)
    assert stop["symbol"].startswith("tick")
    old, new = (int.from_bytes(bytes.fromhex(stop[key]), "little") for key in ("old", "new"))
    assert new == old + 1
    assert number["output"].strip() == f"$1 = {watch['watch']['id']}"
    assert address["output"].strip() == f"$2 = {ticker:#x}"
    assert listed["watches"][0]["hits"] == 1
    running.assert_clean()


NAMED = r"""
#include <string.h>
struct node { long key; struct node *next; } table[600];
static void *(*volatile fill)(void *, int, size_t) = memset;
int main(void)
{
    table[513].next = table;
    fill(table + 514, 7, 16);
    return 0;
}
"""


def test_what_is_hit_and_where_is_named(execute, tmp_path):
    done = execute(
        "--json", "-c", "break main", "-c", "run", "-c", "uffd-watch &table[513], +64",
        "-c", "continue", "-c", "continue", "--", compile_c(tmp_path, NAMED),
    )  # fmt: skip
    first, second = objects(done)[3:]
    assert "(table[513].next) by thread 1" in first["output"], done
    assert first["stop"]["symbol"].startswith("main")
    assert "(table[514].key) by thread 1" in second["output"]
    assert "memset" in second["stop"]["symbol"]
    assert '"' not in second["stop"]["symbol"]


def test_sigterm_releases(gdb, inferiors, tmp_path):
    running = inferiors.start("keepmem.c", "1048576")
    before = running.control.checksum()
    process = subprocess.Popen(
        [
            gdbs.PAGEZAP, "exec", "--debugger-path", gdb.path, "--pid", str(running.pid),
            "-c", f"zap --keep {running.control.base:#x}, +1M", "-c", "continue",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=gdbs.environment(tmp_path),
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not observe.helpers_of(running.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.terminate()
    process.wait(30)
    running.assert_clean()
    assert running.control.checksum() == before


def test_python_variables_of_a_packaged_gdb_do_not_reach_the_program(execute, tmp_path):
    script = "import os; print('PYTHONHOME' in os.environ, 'PYTHONPATH' in os.environ)"
    python = os.path.realpath("/usr/bin/python3") if os.path.exists("/usr/bin/python3") else None
    if python is None:
        pytest.skip("no system Python")
    done = execute("-c", "run", "--", python, "-c", script)
    assert "False False" in done.stderr, done


UNREPORTED = r"""
#include <sys/mman.h>
long *page;
__attribute__((noinline)) void work(long n) { page[1] = n; }
__attribute__((noinline)) void after(long n) { page[1] = -n; }
int main(void)
{
    page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 1;
    work(1), after(1), after(2), after(3), after(4);
    return 0;
}
"""


@pytest.fixture
def unreported(tmp_path):
    return compile_c(tmp_path, UNREPORTED)


def test_a_breakpoint_after_a_write_that_is_not_reported(execute, unreported):
    done = execute(
        "--json", "-c", "break work", "-c", "break after", "-c", "run",
        "-c", "uffd-watch page[500]", "-c", "continue", "-c", "delete", "-c", "continue",
        "--", unreported,
    )  # fmt: skip
    assert done.returncode == 0, done
    met, _, ended = objects(done)[-3:]
    assert met["stop"]["reason"] == "breakpoint"
    assert met["stop"]["breakpoint"] == 2
    assert met["stop"]["symbol"].startswith("after")
    assert "Breakpoint 2, after (n=1)" in met["output"]
    assert ended["stop"]["reason"] == "exited"


def test_a_breakpoint_that_ignores_some_hits_after_such_a_write(batch, unreported):
    commands = ["break 10", "break after", "run", "ignore 2 2", "uffd-watch page[500]", "until"]
    output = batch.run(commands, program=[unreported])
    assert "Breakpoint 2, after (n=3)" in output.parts[-1], output
