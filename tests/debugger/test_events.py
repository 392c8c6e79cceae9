"""What a listener hears, and what the user sees, of stops, resumes and ends."""

from __future__ import annotations

import subprocess

import pytest

from harness import gdbs

PROGRAM = r"""
#include <stdio.h>
#include <unistd.h>
struct node { long key; struct node *next; };
struct node table[1024];
static int counts[4];
volatile int calls;
int twice(int n) { calls++; return 2 * n; }
void marker(int n) { table[n].key = n; counts[1] = n; }
int main(int argc, char **argv)
{
    setvbuf(stdout, 0, _IONBF, 0);
    puts("ready");
    if (argc > 1)
        for (;;)
            usleep(1000);
    marker(1);
    marker(2);
    if (argv[0][0] != '-')
        execl("/proc/self/exe", "-again", (char *)0);
    return 0;
}
"""
HEARD = "\nout(heard=listener.heard)"


@pytest.fixture
def program(compile_c):
    return compile_c(PROGRAM)


def test_one_stop_and_one_resume(program, run_gdb):
    found, _ = run_gdb("break marker", "run", "next", "continue", HEARD, "kill", program=program)
    assert found["heard"] == [
        "resuming", "stopped:breakpoint", "resuming", "stopped:step", "resuming",
        "stopped:breakpoint",
    ]  # fmt: skip


def test_own_steps_are_not_heard(program, run_gdb):
    step = """
import time
pc = d.read_registers(("rip",))["rip"]
stop = d.step_instruction()
times = []
for _ in range(20):
    began = time.perf_counter()
    d.step_instruction()
    times.append(time.perf_counter() - began)
out(moved=pc != d.read_registers(("rip",))["rip"], reason=stop.reason, heard=listener.heard,
    us=round(sorted(times)[10] * 1e6))
"""
    found, text = run_gdb("break marker", "run", "echo <\\n", "\n" + step, "echo >\\n", "kill",
                          program=program)  # fmt: skip
    assert found.pop("us") < 5000
    assert found == {"moved": True, "reason": "step", "heard": ["resuming", "stopped:breakpoint"]}
    shown = text.partition("<\n")[2].partition(">\n")[0].splitlines()
    assert [line for line in shown if not line.startswith("OUT")] == []


def test_a_call_is_no_resume(program, run_gdb):
    found, _ = run_gdb("break marker", "run", "print twice(4)", HEARD, "kill", program=program)
    assert found["heard"] == ["resuming", "stopped:breakpoint", "calling", "called"]


def test_a_resume_names_its_inferiors(program, run_gdb):
    pids = """
class Loud(Listener):
    def resuming(self, pids):
        self.heard.append(sorted(each.num for each in gdb.inferiors() if each.pid in pids))
listener = Loud()
d.set_listener(listener)
"""
    found, _ = run_gdb(
        "break marker", "run", "add-inferior", "inferior 2", f"file {program}", "run", "\n" + pids,
        "inferior 1", "stepi", "inferior 2", "stepi", "set schedule-multiple on", "continue",
        HEARD, "kill inferiors 1 2", program=program,
    )  # fmt: skip
    heard = [each for each in found["heard"] if isinstance(each, list)]
    assert heard == [[1], [2], [1, 2]]


def test_exec_ends_the_old_program(program, run_gdb):
    found, _ = run_gdb(
        "break marker",
        "run",
        "\nd.arm_stop_signal()",
        "continue",
        "continue",
        HEARD,
        "kill",
        program=program,
    )
    assert found["heard"][-3:] == ["resuming", "exited", "stopped:breakpoint"]


@pytest.mark.parametrize("end", ["detach", "quit"])
def test_release_comes_before_the_end(end, program, start, run_gdb):
    process = start(program, "wait")
    show = """
class Loud(Listener):
    def releasing(self, *, ending=False):
        out(traced=procfs.tracer_pid(d.inferior().pid) != 0)
d.set_listener(Loud())
"""
    found, _ = run_gdb("\n" + show, end, pid=process.pid)
    assert found == {"traced": True}
    assert process.poll() is None


def test_mi_detach_is_heard(gdb, program, start, head):
    process = start(program, "wait")
    commands = [
        f'-interpreter-exec console "attach {process.pid}"',
        f'-interpreter-exec console "source {head}"',
        "-target-detach",
        '-interpreter-exec console "python out(heard=listener.heard)"',
        "-gdb-exit",
    ]
    done = subprocess.run(
        [gdb.path, "-nx", "-q", "-i", "mi", "-iex", "set debuginfod enabled off"],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=gdbs.environment(),
    )
    assert '\\"releasing\\", \\"exited\\"' in done.stdout.replace("\\\\", "\\"), done.stdout


def test_a_queued_stop_is_silent_and_a_foreign_one_is_shown(program, start, run_gdb):
    process = start(program, "wait")
    queue = """
pid = gdb.selected_inferior().pid
d.arm_stop_signal()
def send(foreign):
    command = ["sh", "-c", f"sleep 0.5; kill -STOP {pid}"]
    if not foreign:
        code = ("import ctypes,struct,time,os;time.sleep(0.5);b=bytearray(128);"
                "struct.pack_into('iii',b,0,19,0,-1);"
                f"print(ctypes.CDLL(None).syscall(297,{pid},{pid},19,"
                "(ctypes.c_char*128).from_buffer(b)))")
        command = [os.environ["TEST_PYTHON"], "-c", code]
    import subprocess
    subprocess.Popen(command, stdout=subprocess.DEVNULL)
"""
    found, text = run_gdb(
        "\n" + queue,
        "\nsend(False)",
        "echo <1\\n",
        "continue",
        "echo >1\\n",
        "\nout(queued_foreign=d.signal_is_foreign())\nd.discard_signal()",
        "\nsend(True)",
        "echo <2\\n",
        "continue",
        "echo >2\\n",
        "\nout(foreign=d.signal_is_foreign(), heard=listener.heard)\nd.discard_signal()",
        "\nd.disarm_stop_signal()\nout(left=len(gdb.breakpoints()))",
        "detach",
        pid=process.pid,
    )
    assert found["queued_foreign"] is False, text
    assert found["foreign"] is True, text
    assert found["heard"].count("stopped:signal") == 2
    assert found["left"] == 0
    assert text.partition("<1\n")[2].partition(">1\n")[0].strip() == ""
    assert "received signal SIGSTOP, Stopped (signal)." in text.partition("<2\n")[2]


def test_the_catchpoint_comes_back(program, run_gdb):
    found, _ = run_gdb(
        "break marker",
        "run",
        "\nd.arm_stop_signal()",
        "delete 2",
        "continue",
        "\nout(there=any(b.type == gdb.BP_CATCHPOINT for b in gdb.breakpoints()))",
        "kill",
        program=program,
    )
    assert found == {"there": True}


def test_symbols(program, run_gdb):
    look = """
def at(text):
    return int(gdb.parse_and_eval(text))
value = d.evaluate("table")
pointer = d.evaluate("&table[1]")
out(second=d.name_address(at("&table[513].next")), inside=d.name_address(at("&table[2]") + 3),
    count=d.name_address(at("&counts[1]")), stack=d.name_address(at("$sp")),
    frame=d.frame_line(), size=value.size, address=value.address == at("&table"),
    pointer=pointer.is_pointer, constant=d.evaluate("1+1").address, number=d.evaluate("1+1").number,
    array=d.evaluate("table[1]@2").size,
    register=d.evaluate("$rax").address)
place = d.locate(at("$pc"))
out(function=place.function, file=os.path.basename(place.file or ""), line=place.line,
    symbol=d.locate(at("&marker") + 1).symbol(), nothing=d.locate(16).symbol())
try:
    d.evaluate("no_such_thing")
except errors.UsageError as error:
    out(error=error.line())
out(complete=list(d.complete_symbol("tab")))
"""
    found, _ = run_gdb("break marker", "run", "\n" + look, "kill", program=program)
    assert found["second"] == "table[513].next"
    assert found["inside"] == "table[2].key+3"
    assert found["count"] == "counts[1]"
    assert found["stack"] is None
    assert found["frame"].startswith("marker (n=1) at ")
    assert found["frame"].endswith("program.c:9")
    assert (found["size"], found["address"], found["pointer"]) == (16384, True, True)
    assert (found["constant"], found["number"], found["register"]) == (None, 2, None)
    assert found["array"] == 32
    assert (found["function"], found["file"], found["line"]) == ("marker", "program.c", 9)
    assert found["symbol"] == "marker+1"
    assert found["nothing"] is None
    assert found["error"] == 'No symbol "no_such_thing" in current context'
    assert "table" in found["complete"]


def test_commands_fail_in_one_line(run_gdb):
    commands = """
from pagezap.debugger.api import CommandSpec
def run(argument):
    if argument == "exit":
        raise SystemExit(3)
    if argument == "bug":
        raise ValueError("two\\nlines")
    raise errors.RangeError("no such range", hint="Try another")
d.add_command(CommandSpec("zz-test", "Help text.", run, lambda text, word: ["alpha", "beta"]))
for word in ("x", "exit", "bug"):
    try:
        gdb.execute("zz-test " + word)
    except gdb.error as error:
        out(**{word: str(error)})
out(help=gdb.execute("help zz-test", to_string=True).strip(),
    complete=gdb.execute("complete zz-test a", to_string=True).split())
"""
    found, text = run_gdb("\n" + commands)
    assert found["x"] == "no such range. Try another"
    assert "SystemExit" in found["exit"]
    assert "two lines" in found["bug"]
    assert "\n" not in found["bug"]
    assert found["help"] == "Help text."
    assert "alpha" in found["complete"]
    assert "Traceback" not in text
