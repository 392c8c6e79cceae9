"""Who may empty whose memory, and what is left of it."""

PROGRAM = "madvise"


def test_another_process_may_only_hint(facts):
    refused = "DONTNEED DONTNEED_LOCKED FREE REMOVE POPULATE_READ POPULATE_WRITE"
    found = facts.of("remote")
    assert found.pop("GUARD_INSTALL") == "EINVAL"
    assert found.pop("GUARD_REMOVE") == "EINVAL"
    assert found == dict.fromkeys(("COLD", "PAGEOUT", "WILLNEED", "COLLAPSE"), "ok") | (
        dict.fromkeys(refused.split(), "EINVAL")
    )
    assert facts.of("remote-content") == {"first": "7"}


def test_a_task_in_the_same_mm_may_zap(facts):
    assert set(facts.of("shared-mm").values()) == {"yes", "ok"}


def test_self_zaps_many_ranges_in_one_call(facts):
    assert facts.of("self") == {
        "three-ranges": str(4 * 4096),
        "zapped": "10110010",
        "PIDFD_SELF_THREAD": "4096",
        "1024-ranges": str(1024 * 4096),
        "1025-ranges": "EINVAL",
        "3GiB": str(2**31 - 4096),
    }


def test_process_madvise_stops_at_a_hole(facts):
    assert facts.of("partial") == {
        "process_madvise": "4096",
        "before-zapped": "yes",
        "after-zapped": "no",
        "hole-first": "ENOMEM",
    }


def test_madvise_zaps_both_sides_of_a_hole(facts):
    assert facts.of("hole") == {"madvise": "ENOMEM", "before-zapped": "yes", "after-zapped": "yes"}


def test_mlocked_pages_are_refused_after_those_before_them_went(facts):
    assert facts.of("locked") == {
        "DONTNEED": "EINVAL",
        "DONTNEED-zapped": "no",
        "across": "EINVAL",
        "across-zapped": "1100",
        "DONTNEED_LOCKED": "ok",
        "DONTNEED_LOCKED-zapped": "yes",
    }


def test_what_a_file_gives_back(facts):
    assert facts.of("backed") == {
        "private": "ok",
        "private-content": "file",
        "shared": "ok",
        "shared-content": "ours",
        "shmem": "ok",
        "shmem-content": "kept",
        "shmem-REMOVE": "ok",
        "shmem-REMOVE-first-byte": "0",
    }


def test_shared_memory_is_punched_through_map_files(facts):
    assert facts.of("punch") == {"fallocate": "ok", "contents": "7077"}


def test_guard_regions_survive_a_zap(facts):
    assert facts.of("guard") == {
        "DONTNEED": "ok",
        "then-read": "EIO",
        "REMOVE": "ok",
        "REMOVE-then-read": "1",
    }


def test_sealed_read_only_memory_is_refused(facts):
    assert facts.of("sealed") == {"DONTNEED": "EPERM", "content": "7"}
