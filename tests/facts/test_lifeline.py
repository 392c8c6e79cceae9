"""Who holds the userfaultfd decides what a missing page is."""

PROGRAM = "lifeline"


def test_the_last_close_turns_missing_pages_into_zeros(facts):
    assert facts.of("closed") == {
        "waits-before": "yes",
        "waiter-reads": "0",
        "next-reads": "0",
        "registration-gone": "yes",
    }


def test_a_descriptor_in_the_inferior_makes_them_wait(facts):
    assert facts.of("held") == {
        "waits": "yes",
        "registration-stays": "yes",
        "read-fault-is-not-told-again": "yes",
        "WAKE": "ok",
        "told-after-WAKE": "yes",
        "content": "5",
        "unread-fault-is-told": "yes",
        "killable": "yes",
    }


def test_five_threads_on_one_page(facts):
    assert facts.of("crowd") == {
        "five-events-one-each": "yes",
        "no-more": "yes",
        "one-COPY": "ok",
        "wakes-all": "yes",
        "second-COPY": "EEXIST",
        "content-stays": "5",
    }


def test_death_shows_in_the_pidfd_and_not_in_poll(facts):
    assert facts.of("dead") == {"pidfd-tells": "yes", "COPY": "ESRCH", "WAKE": "ok", "poll": "0"}


def test_exec_ends_the_descriptor_without_a_word(facts):
    assert facts.of("executed") == {"COPY": "ESRCH", "no-event": "yes"}
