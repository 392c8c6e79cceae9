"""What the program does to its mappings."""

import pytest

PROGRAM = "events"
MORE = {
    "REMOVE": {
        "page-still-there": "yes",
        "result": "ok",
        "page-gone": "yes",
        "COPY-afterwards": "ok",
    },
    "UNMAP": {"result": "ok", "by-mmap-MAP_FIXED": "yes"},
    "REMAP": {"then-UNMAP": "yes", "result": "yes", "registration-moves": "yes"},
    "FORK": {
        "child-faults-in-the-new-uffd": "yes",
        "COPY-into-the-child": "ok",
        "child-reads": "6",
        "parent-stays-missing": "yes",
        "child-reads-once-closed": "0",
    },
}


@pytest.mark.parametrize("event", MORE)
def test_the_caller_waits_and_copy_is_put_off_until_the_event_is_read(facts, event):
    assert facts.of(event) == MORE[event] | {
        "caller-waits": "yes",
        "COPY-meanwhile": "EAGAIN",
        "event": "yes",
    }


def test_without_the_event_a_forked_child_reads_zeros(facts):
    assert facts.of("no-EVENT_FORK") == {"child-reads": "0", "no-event": "yes"}


def test_without_the_event_mremap_drops_the_registration(facts):
    assert facts.of("no-EVENT_REMAP") == {"result": "yes", "registration-dropped": "yes"}
