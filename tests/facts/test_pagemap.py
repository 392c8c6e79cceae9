"""What pagemap shows of pages that are not there."""

PROGRAM = "pagemap"


def test_populated_and_not(facts):
    assert facts.of("entry") == {
        "unpopulated": "empty",
        "populated-is-present": "yes",
        "zero-page-is-present": "yes",
    }


def test_write_protection_and_its_end(facts):
    assert facts.of("wp") == {
        "present-has-bit-57": "yes",
        "present": "yes",
        "on-an-empty-page": "empty",
        "after-an-anonymous-zap": "empty",
    }


def test_wp_unpopulated_leaves_a_marker(facts):
    found = facts.of("unpopulated-marker")
    assert found.pop("scan", "1 SWAPPED") == "1 SWAPPED"
    assert found == {
        "entry": "swapped wp type 31 offset 1",
        "COPY-over-it": "ok",
        "unprotected": "empty",
    }


def test_a_zap_of_shmem_keeps_the_marker(facts):
    assert facts.of("shmem-marker") == {"after-a-zap": "swapped wp type 31 offset 1"}


def test_poison_marker(facts):
    assert facts.of("poison-marker") == {"entry": "swapped type 31 offset 2"}


def test_guard_marker(facts):
    found = facts.of("guard-marker")
    assert found.pop("scan", "1 SWAPPED WRITTEN") == "1 SWAPPED WRITTEN"
    # Bit 58 is newer than the guard regions themselves.
    assert found["entry"].replace(" guard", "") == "swapped type 31 offset 4"


def test_scan_tells_the_zero_page(facts):
    assert facts.of("scan") == {
        "zero-page": "1 PRESENT PFNZERO WRITTEN",
        "unpopulated": "1 WRITTEN",
    }
