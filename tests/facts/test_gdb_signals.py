"""What gdb does with signals, in each version that is there."""

from __future__ import annotations

import os
import signal

import pytest


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
