"""What gdb does, in each version that is there."""

from __future__ import annotations

import pytest

SYSCALLS = {"sleep": ("35", "230"), "futex": ("202",), "read": ("0",)}


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
