"""Other processes that look at missing and protected pages."""

PROGRAM = "readers"


def test_mem_and_ptrace_do_not_wait_for_a_missing_page(facts):
    assert facts.of("missing") == {
        "mem-read": "EIO",
        "mem-write": "EIO",
        "PEEKDATA": "EIO",
        "no-event": "yes",
    }


def test_process_vm_readv_waits_under_its_own_name(facts):
    assert facts.of("process_vm_readv") == {
        "blocks": "yes",
        "in-its-own-call": "yes",
        "ptid-is-the-reader": "yes",
        "not-a-task-of-the-target": "yes",
        "reads-what-was-copied": "9",
    }


def test_protected_pages_can_be_read_but_not_written(facts):
    assert facts.of("protected") == {
        "mem-read": "1",
        "mem-read-value": "7",
        "mem-write": "EIO",
        "process_vm_readv": "1",
        "no-event": "yes",
        "mem-write-afterwards": "1",
    }
