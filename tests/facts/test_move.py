"""UFFDIO_MOVE, on which keeping pages without a copy rests."""

PROGRAM = "move"


def test_only_a_task_of_the_mm_may_move(facts):
    assert facts.of("who") == {
        "other-mm": "EINVAL",
        "agent": "ok",
        "agent-moved": str(2 * 4096),
        "source-empty": "yes",
        "content": "7",
        "thread": "ok",
    }


def test_the_physical_page_stays_the_same(facts):
    assert facts.of("frame") == {"same": "yes"}


def test_moving_back_resolves_the_fault(facts):
    assert facts.of("back") == {
        "event": "yes",
        "move": "ok",
        "store-goes-on": "ok",
        "content": "7",
    }


def test_a_populated_destination_is_refused(facts):
    assert facts.of("populated") == {
        "first": "EEXIST",
        "source-stays": "7",
        "in-the-middle": "EAGAIN",
        "bytes-before-it": "4096",
    }


def test_only_the_destination_has_to_be_registered(facts):
    assert facts.of("registered") == {
        "destination-is-not": "EINVAL",
        "stash-survives-UNREGISTER": "yes",
        "source-is-not": "ok",
    }


def test_holes_of_the_source(facts):
    assert facts.of("holes") == {
        "refused": "EAGAIN",
        "bytes-before": "4096",
        "allowed": "ok",
        "allowed-bytes": str(3 * 4096),
        "hole-stays": "yes",
    }


def test_both_sides_have_to_be_writable(facts):
    assert facts.of("protection") == {"differs": "EINVAL", "both-read-only": "EINVAL"}


def test_one_mlocked_side_is_refused(facts):
    assert facts.of("locked") == {
        "source": "EINVAL",
        "source-content": "7",
        "unlocked-again": "ok",
        "destination": "EINVAL",
        "both": "ok",
    }


def test_pages_shared_by_fork_are_refused_undamaged(facts):
    assert facts.of("fork-shared") == {
        "move": "EBUSY",
        "content-stays": "7",
        "after-a-write": "ok",
        "after-the-child": "ok",
    }


def test_a_stash_needs_dontfork(facts):
    assert facts.of("stash-forked") == {"with-DONTFORK": "ok", "without": "EBUSY"}


def test_the_zero_page_moves(facts):
    assert facts.of("zero-page") == {"present": "yes", "move": "ok"}


def test_write_protected_pages_move_and_lose_the_protection(facts):
    assert facts.of("protected") == {
        "move": "ok",
        "bit-57-after": "no",
        "back": "ok",
        "store-after-back": "ok",
        "waiter-finds-it-missing": "yes",
        "waiter-goes-on": "ok",
    }


def test_moving_raises_no_event(facts):
    assert facts.of("silent") == {"move": "yes", "unregistered-stash": "yes"}


def test_moving_is_put_off_while_an_event_waits(facts):
    assert facts.of("busy") == {
        "move": "EAGAIN",
        "WRITEPROTECT": "EAGAIN",
        "move-afterwards": "ok",
    }


def test_no_write_is_lost(facts):
    assert facts.of("counted") == {"some-cycles": "yes", "nothing-lost": "yes"}
