"""What gdb does, in each version that is there."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import textwrap
import time

import pytest

from harness import gdbs

HERE = pathlib.Path(__file__).parent
SYSCALLS = {"sleep": ("35", "230"), "futex": ("202",), "read": ("0",)}


class Stage:
    """An inferior and the debuggers that look at it."""

    def __init__(self, gdb, build, directory) -> None:
        self.gdb = gdb
        self.build = build
        self.directory = directory
        self.process = None
        self.env = gdbs.environment(directory) | {
            "FACTS_OUT": str(directory / "facts"),
            "FACTS_SEND": str(build("send")),
        }

    def play(self, part):
        self.process = subprocess.Popen(
            [self.build("stage"), part],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline().strip()
        if line != "ready" and self.process.wait(20) == 0:
            pytest.skip(line)
        assert line == "ready"

    def await_blocked(self, numbers):
        path = f"/proc/{self.process.pid}/syscall"
        deadline = time.monotonic() + 20
        while pathlib.Path(path).read_text().split()[0] not in numbers:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def run(self, script, *, attach=True):
        """Run a script in the debugger; returns what it noted, its output and status."""
        file = self.directory / "script.py"
        file.write_text((HERE / "gdb_common.py").read_text() + textwrap.dedent(script))
        command = [self.gdb.path, "-nx", "-q", "-batch", "-iex", "set width 0"]
        if attach:
            command += ["-p", str(self.process.pid)]
        done = subprocess.run(
            [*command, "-x", str(file)],
            capture_output=True,
            text=True,
            env=self.env,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        out = self.directory / "facts"
        noted = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        return noted, done

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process.stdin.close()
            self.process.stdout.close()


@pytest.fixture
def stage(gdb, build, tmp_path):
    made = Stage(gdb, build, tmp_path)
    yield made
    made.close()


def test_events_cont_fires_while_every_thread_stands(stage):
    stage.play("threads")
    noted, done = stage.run("""
        doing = "?"
        gdb.events.cont.connect(lambda event: fact(doing, states()))
        for doing in ("stepi", "next"):
            gdb.execute(doing, to_string=True)
        doing = "continue"
        send(INFERIOR.pid, 10)
        gdb.execute("handle SIGUSR1 stop print nopass", to_string=True)
        gdb.execute("continue", to_string=True)
    """)
    assert done.returncode == 0, done
    assert {doing for doing, _ in noted} == {"stepi", "next", "continue"}
    assert {found for _, found in noted} == {"tttt"}


def test_a_caught_sigstop_is_silent_and_tells_python(stage):
    stage.play("threads")
    noted, done = stage.run("""
        def on_stop(event):
            fact("type", type(event).__name__)
            fact("signal", getattr(event, "stop_signal", None))
            fact("thread", gdb.selected_thread().ptid[1] == INFERIOR.pid)
            info = gdb.parse_and_eval("$_siginfo")
            fact("code", int(info["si_code"]))
            fact("value", int(info["_sifields"]["_rt"]["si_sigval"]["sival_ptr"]))

        gdb.execute("catch signal SIGSTOP", to_string=True)
        gdb.execute("commands $bpnum\\nsilent\\nend", to_string=True)
        gdb.events.stop.connect(on_stop)
        send(INFERIOR.pid, 19, 0x1234560)
        print("BEFORE")
        gdb.execute("continue")
        print("AFTER")
        fact("states", states())
        gdb.execute("queue-signal 0")
    """)
    assert done.returncode == 0, done
    assert dict(noted) == {
        "type": "SignalEvent",
        "signal": "SIGSTOP",
        "thread": True,
        "code": -1,
        "value": 0x1234560,
        "states": "tttt",
    }, done
    printed = done.stdout.partition("BEFORE\n")[2].partition("AFTER\n")[0]
    assert printed.strip() in {"", "Continuing."}


def test_an_uncaught_sigstop_prints(stage):
    stage.play("threads")
    _, done = stage.run("""
        send(INFERIOR.pid, 19)
        print("BEFORE")
        gdb.execute("continue")
        print("AFTER")
        gdb.execute("queue-signal 0")
    """)
    printed = done.stdout.partition("BEFORE\n")[2].partition("AFTER\n")[0]
    assert "received signal SIGSTOP" in printed


def test_how_signals_are_handled_by_default(stage):
    noted, _ = stage.run(
        """
        for name in ("SIGSTOP", "SIGTRAP"):
            line = gdb.execute(f"info signals {name}", to_string=True).splitlines()[-1]
            fact(name, line.split()[1:4])
        gdb.execute("handle SIGSTOP noprint", to_string=True)
        line = gdb.execute("info signals SIGSTOP", to_string=True).splitlines()[-1]
        fact("noprint", line.split()[1:4])
    """,
        attach=False,
    )
    assert dict(noted) == {
        "SIGSTOP": ["Yes", "Yes", "Yes"],
        "SIGTRAP": ["Yes", "Yes", "No"],
        # A stop that prints nothing is not to be had from `handle`.
        "noprint": ["No", "No", "Yes"],
    }


@pytest.mark.parametrize("discard", ["queue-signal 0", "handle SIGSTOP nopass"])
def test_a_discarded_sigstop_does_not_stop_the_inferior(stage, discard):
    stage.play("guarded")
    noted, done = stage.run(f"""
        signals = []
        gdb.events.stop.connect(lambda event: signals.append(event.stop_signal))
        send(INFERIOR.pid, 19)
        gdb.execute("continue", to_string=True)
        gdb.execute({discard!r}, to_string=True)
        send(INFERIOR.pid, 10)
        gdb.execute("handle SIGUSR1 stop print nopass", to_string=True)
        gdb.execute("continue", to_string=True)
        fact("signals", signals)
    """)
    assert dict(noted) == {"signals": ["SIGSTOP", "SIGUSR1"]}, done
    # Detached and running: it answers a signal of its own.
    os.kill(stage.process.pid, signal.SIGTRAP)
    assert stage.process.stdout.readline() == "trapped\n"
    assert stage.process.wait(20) == 0


def test_a_missing_page_cannot_be_accessed(stage):
    stage.play("fault")
    stage.await_blocked(("-1",))
    noted, done = stage.run("""
        def attempt(command):
            try:
                return gdb.execute(command, to_string=True)
            except gdb.error as error:
                return str(error)

        fact("x", attempt("x/1xb missing"))
        fact("set", attempt("set var *missing = 1"))
        try:
            INFERIOR.read_memory(int(gdb.parse_and_eval("(unsigned long)missing")), 8)
        except gdb.MemoryError as error:
            fact("read_memory", str(error))
        fact("pc", int(gdb.parse_and_eval("$pc")) == int(gdb.parse_and_eval("(long)&load_byte")))
    """)
    noted = dict(noted)
    assert noted.pop("pc") is True, done
    assert set(noted) == {"x", "set", "read_memory"}, done
    assert all("Cannot access memory" in found for found in noted.values()), noted


def test_a_protected_page_can_be_read_and_not_written(stage):
    stage.play("protected")
    noted, done = stage.run("""
        fact("value", int(gdb.parse_and_eval("missing[0]")))
        for command in ("set var missing[0] = 9", "break *missing"):
            try:
                gdb.execute(command, to_string=True)
                gdb.execute("stepi")
                fact(command, "done")
            except gdb.error as error:
                fact(command, str(error))
        gdb.execute("delete", to_string=True)
    """)
    noted = dict(noted)
    assert noted["value"] == 7, done
    assert "Cannot access memory" in noted["set var missing[0] = 9"]
    assert noted["break *missing"] != "done"
    assert "Cannot insert breakpoint" in done.stdout + done.stderr


def test_a_sigtrap_from_outside_is_a_plain_stop(stage):
    stage.play("guarded")
    noted, done = stage.run("""
        gdb.events.stop.connect(lambda event: fact("type", type(event).__name__))
        send(INFERIOR.pid, 5)
        gdb.execute("continue", to_string=True)
    """)
    assert [value for _, value in noted] == ["StopEvent"], done
    # And it is not passed on.
    os.kill(stage.process.pid, signal.SIGTRAP)
    assert stage.process.stdout.readline() == "trapped\n"


def test_a_pending_signal_comes_before_the_injected_call(stage):
    stage.play("guarded")
    noted, done = stage.run("""
        signals = []
        gdb.events.stop.connect(lambda event: signals.append(getattr(event, "stop_signal", None)))
        gdb.execute("handle SIGUSR1 stop print nopass", to_string=True)
        saved = registers()
        at = vdso_syscall()
        for name, value in (("orig_rax", -1), ("rax", 39), ("rip", at)):
            set_register(name, value)
        send(INFERIOR.pid, 10)
        gdb.execute("set scheduler-locking on")
        gdb.execute("stepi", to_string=True)
        now = registers()
        fact("unmoved", now["rip"] == at and now["rax"] == 39)
        gdb.execute("stepi", to_string=True)
        now = registers()
        fact("then", now["rip"] == at + 2 and now["rax"] == INFERIOR.pid)
        fact("signals", signals)
        for name in REGISTERS:
            set_register(name, saved[name])
    """)
    noted = dict(noted)
    assert noted["unmoved"] is True, done
    assert noted["then"] is True, done
    assert noted["signals"][0] == "SIGUSR1", done


def test_a_call_can_be_injected_at_the_first_instruction(stage, build):
    noted, done = stage.run(
        f"""
        gdb.execute("file {build("stage")}", to_string=True)
        gdb.execute("starti", to_string=True)
        INFERIOR = gdb.selected_inferior()
        before = registers()
        fact("getpid", inject(39) == INFERIOR.pid)
        fact("registers", registers() == before)
        gdb.execute("kill", to_string=True)
    """,
        attach=False,
    )
    assert dict(noted) == {"getpid": True, "registers": True}, done


def test_standard_output_in_gdb_is_no_file(stage):
    noted, _ = stage.run('fact("fileno", hasattr(sys.stdout, "fileno"))\n', attach=False)
    assert dict(noted) == {"fileno": False}


def test_a_fault_waits_at_its_instruction_when_sigstop_comes(stage):
    stage.play("fault")
    stage.await_blocked(("-1",))
    noted, done = stage.run("""
        gdb.execute("catch signal SIGSTOP", to_string=True)
        gdb.execute("commands $bpnum\\nsilent\\nend", to_string=True)

        def arrived(event):
            pc = int(gdb.parse_and_eval("$pc"))
            fact(type(event).__name__, pc == int(gdb.parse_and_eval("(long)&load_byte")))

        gdb.events.stop.connect(arrived)
        for _ in range(2):
            send(INFERIOR.pid, 19)
            gdb.execute("continue")
            gdb.execute("queue-signal 0")
    """)
    assert noted == [["SignalEvent", True]] * 2, done


KILLED = """
    import signal
    gdb.execute("stepi", to_string=True)
    fact("stepped", True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_debugger_killed_after_a_step_takes_the_inferior_with_it(stage):
    stage.play("spin")
    noted, done = stage.run(KILLED)
    assert done.returncode == -signal.SIGKILL
    assert dict(noted) == {"stepped": True}
    assert stage.process.wait(20) == -signal.SIGTRAP


def test_a_handler_of_sigtrap_survives_a_killed_debugger(stage):
    stage.play("guarded")
    noted, done = stage.run(KILLED)
    assert done.returncode == -signal.SIGKILL
    assert dict(noted) == {"stepped": True}
    assert stage.process.stdout.readline() == "trapped\n"
    assert stage.process.wait(20) == 0


@pytest.mark.parametrize(
    ("part", "told"),
    [("sleep", "nanosleep=0"), ("futex", "futex=0 word=1"), ("read", "read=1 byte=x")],
)
def test_an_injected_call_lets_the_interrupted_one_restart(stage, part, told):
    stage.play(part)
    stage.await_blocked(SYSCALLS[part])
    noted, done = stage.run("""
        before = registers()
        fact("getpid", inject(39) == INFERIOR.pid)
        fact("madvise", inject(28, 1, 4096, 4))
        fact("registers", registers() == before)
    """)
    # The second call is refused by its arguments: the result is the injected call's.
    assert dict(noted) == {"getpid": True, "madvise": -22, "registers": True}, done
    stage.process.stdin.write("x\n")
    stage.process.stdin.flush()
    assert stage.process.stdout.readline() == f"{told}\n"
    assert stage.process.wait(20) == 0


def test_a_gdb_error_is_the_failure_of_a_command(stage):
    script = """
        class Fail(gdb.Command):
            def __init__(self):
                super().__init__("fact-fail", gdb.COMMAND_USER)

            def invoke(self, argument, from_tty):
                raise {raised}

        Fail()
        try:
            gdb.execute("fact-fail")
        except gdb.error as error:
            fact("error", str(error))
        fact("alive", True)
    """
    noted, done = stage.run(script.format(raised='gdb.GdbError("told")'), attach=False)
    assert dict(noted) == {"error": "told", "alive": True}
    assert "Traceback" not in done.stderr


def test_system_exit_in_a_command_must_not_be_raised(stage):
    noted, done = stage.run(
        """
        class Leave(gdb.Command):
            def __init__(self):
                super().__init__("fact-exit", gdb.COMMAND_USER)

            def invoke(self, argument, from_tty):
                raise SystemExit(3)

        Leave()
        try:
            gdb.execute("fact-exit")
        except BaseException as error:
            fact("caught", type(error).__name__)
        fact("alive", True)
    """,
        attach=False,
    )
    if int(stage.gdb.version.split(".")[0]) < 14:
        assert dict(noted) == {"caught": "error", "alive": True}, done
    else:
        # The whole debugger ends, and nothing can catch it.
        assert (noted, done.returncode) == ([], 3), done
