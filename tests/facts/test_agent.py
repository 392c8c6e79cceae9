"""A task inside the inferior's memory."""

PROGRAM = "agent"


def test_it_is_no_thread_and_only_wall_waits_for_it(facts):
    assert facts.of("seen") == {
        "is-a-thread-of-the-target": "no",
        "has-its-own-pid": "yes",
        "same-mm": "yes",
        "waitpid-any": "ECHILD",
        "waitpid-WALL": "ok",
        "ended-it-is": "Z",
        "ended-waitpid-any": "ECHILD",
        "ended-waitpid-WALL": "yes",
        "target-lives": "yes",
    }


def test_it_works_while_the_target_is_stopped(facts):
    assert facts.of("stopped") == {"agent-zaps": "ok", "target-is": "T", "page-gone": "yes"}


def test_it_works_while_the_target_is_held_by_a_tracer(facts):
    assert facts.of("traced") == {"agent-zaps": "ok", "target-is": "t", "agent-is-not": "yes"}


def test_clone_untraced_hides_it_from_a_tracer_that_follows(facts):
    assert facts.of("untraced") == {"no-stop": "yes", "works": "yes"}


def test_it_shares_descriptors_and_handlers(facts):
    assert facts.of("shares") == {
        "descriptor-appears": "yes",
        "same-file": "yes",
        "closed-by-the-agent": "EBADF",
        "rt_sigaction": "ok",
        "handler-of-the-target": "yes",
        "SIGTRAP-survived": "ok",
        "alive": "yes",
    }


def test_without_clone_files_its_descriptors_are_its_own(facts):
    assert facts.of("own-table") == {"not-seen": "EBADF"}
    assert facts.of("lifeline") == {
        "waits-while-the-agent-lives": "yes",
        "reads-when-it-ends": "0",
    }


def test_it_outlives_the_target_and_keeps_the_memory(facts):
    assert facts.of("outlives") == {"runs": "yes", "memory": "7", "reaped": "yes"}
    assert facts.of("exec") == {"runs": "yes", "old-memory": "7"}


def test_an_intermediate_leaves_the_program_without_a_child(facts):
    assert facts.of("intermediate") == {
        "parent-is-the-reaper": "yes",
        "waitpid-WALL": "ECHILD",
        "serves": "yes",
    }
