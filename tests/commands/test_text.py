"""Numbers, ranges and lists as a person reads them."""

from __future__ import annotations

from pagezap.commands.memory import text


def test_many_lines_are_cut_short_and_summed_up():
    lines = [f"range {number}" for number in range(23)]
    assert text.shortened(lines[:20], "in all 40 pages") == "\n".join(lines[:20])
    assert text.shortened(lines[:21], "in all 42 pages").splitlines()[20:] == [
        "and 1 more range (--json lists them); in all 42 pages"
    ]
    assert text.shortened(lines, "in all 46 pages").splitlines()[19:] == [
        "range 19",
        "and 3 more ranges (--json lists them); in all 46 pages",
    ]
