"""A thread that waits in a fault."""

import pytest

PROGRAM = "blocked"


def test_user_mode_shows_the_exact_pc(facts):
    assert facts.of("user") == {
        "fields": "2",
        "number-is-minus-1": "yes",
        "exact-pc": "yes",
        "state": "S",
    }


def test_kernel_mode_shows_the_call(facts):
    assert facts.of("kernel") == {
        "number": "yes",
        "arguments": "yes",
        "event-is-a-write": "yes",
        "address": "yes",
        "read-returns": "8",
        "read-content": "127",
    }


@pytest.mark.parametrize("signal", ["SIGSTOP", "SIGTRAP"])
def test_a_signal_stops_before_the_access_and_the_access_comes_again(facts, signal):
    assert facts.of(signal) == {
        "stop-signal": signal,
        "siginfo-kept": "yes",
        "exact-pc": "yes",
        "page-still-missing": "yes",
        "no-event-while-stopped": "yes",
        "faults-again": "yes",
        "store-done": "5",
    }


def test_a_write_to_a_protected_page_is_stopped_before_it(facts):
    assert facts.of("protected") == {
        "exact-pc": "yes",
        "old-content": "7",
        "one-step-writes": "9",
    }


def test_in_kernel_mode_the_stop_waits_for_the_page(facts):
    assert facts.of("kernel-signal") == {
        "same-fault-again-and-again": "yes",
        "does-not-stop": "yes",
        "stops-when-served": "SIGSTOP",
        "call-returns": "8",
    }
