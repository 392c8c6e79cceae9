"""A userfaultfd of the inferior, used from outside."""

PROGRAM = "remote"


def test_registration_shows_in_smaps(facts):
    assert facts.of("register") == {
        "um-before": "no",
        "anonymous": "ok",
        "um": "yes",
        "uw": "yes",
    }


def test_an_event_names_thread_and_address(facts):
    assert facts.of("event") == {
        "is-pagefault": "yes",
        "exact-address": "yes",
        "tid": "yes",
        "read-flags": "0",
        "waits": "yes",
        "write-flags": "1",
    }


def test_copy_and_zeropage_resolve(facts):
    assert facts.of("resolve") == {
        "COPY": "ok",
        "COPY-value": "9",
        "COPY-again": "EEXIST",
        "ZEROPAGE": "ok",
        "ZEROPAGE-then-store": "0",
    }


def test_a_wake_alone_repeats_the_fault(facts):
    assert facts.of("wake") == {"WAKE": "ok", "faults-again": "yes"}


def test_unregistered_memory_is_plain(facts):
    assert facts.of("unregister") == {"UNREGISTER": "ok", "um": "no", "missing-reads": "0"}


def test_write_protection(facts):
    found = facts.of("protect")
    assert found.pop("arm-with-DONTWAKE") == "EINVAL"
    assert found.pop("load") == "7"
    assert (found.pop("mem-read"), found.pop("mem-read-value")) == ("1", "7")
    assert found.pop("COPY-with-WP-value") == "4"
    assert set(found.values()) == {"ok", "yes"}, found


def test_what_can_be_registered(facts):
    assert facts.of("kinds") == {
        "no-access": "ok",
        "stack": "ok",
        "shmem": "ok",
        "private-file": "EINVAL",
        "private-file-WP": "EINVAL",
        "vdso": "EINVAL",
        "vvar": "EINVAL",
        "nothing-there": "EINVAL",
        "across-a-hole": "ok",
        "after-the-hole-um": "yes",
        "again": "ok",
        "second-context": "EBUSY",
    }


def test_poison(facts):
    assert facts.of("poison") == {
        "POISON": "ok",
        "system-call": "EFAULT",
        "mem-read": "EIO",
        "after-a-zap": "0",
    }


def test_a_page_is_kept_by_copy_without_losing_a_write(facts):
    assert facts.of("keep-by-copy") == {
        "writer-waits": "yes",
        "zap-wakes-nobody": "yes",
        "then-finds-it-missing": "yes",
        "contents": "7 9",
    }


def test_an_event_names_the_thread_as_its_namespace_does(facts):
    assert facts.of("namespace") == {"ptid-is-the-inner-one": "yes", "NSpid": "1"}


def test_user_mode_only_fails_system_calls_at_once(facts):
    assert facts.of("user-mode-only") == {"system-call": "EFAULT", "no-event": "yes"}
