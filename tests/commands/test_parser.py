"""The argument parser: options before and after, ranges verbatim, errors with a kind."""

from __future__ import annotations

import pytest

from pagezap.commands.framework.options import NO_OPERANDS, RANGE_OPTION, RANGES, Operands, Option
from pagezap.commands.framework.parser import Arguments, parse
from pagezap.commands.framework.scan import unquote, words
from pagezap.debugger.errors import UsageError

OPTIONS = (
    Option("keep", "", metavar="stash|store", optional=True, choices=("stash", "store")),
    Option("kind", "", metavar="K"),
    Option("force", ""),
    Option("fill", "", metavar="F"),
    RANGE_OPTION,
)


def ranges(text: str) -> Arguments:
    return parse(text, OPTIONS, RANGES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("buf, +4096", ["buf, +4096"]),
        ("  buf,   +4096  ", ["buf,   +4096"]),
        ("--force buf, +64K", ["buf, +64K"]),
        ("buf, +64K --force", ["buf, +64K"]),
        ("a -- b", ["a", "b"]),
        ("--force -- a -- b", ["a", "b"]),
        ("a --range b --range 'c, +1'", ["a", "b", "c, +1"]),
        ('*table["x --force"]', ['*table["x --force"]']),
        ("(a - --b), +4", ["(a - --b), +4"]),
        ("[anon:my arena] --force", ["[anon:my arena]"]),
        ("p -h, +4", ["p -h, +4"]),
        ("x--, +4", ["x--, +4"]),
        ("'file.c'::table", ["'file.c'::table"]),
        ("n + 1'000, +4", ["n + 1'000, +4"]),
        ("-- --weird", ["--weird"]),
        ("map:/a b/c", ["map:/a b/c"]),
    ],
)
def test_ranges_stay_as_typed(text: str, expected: list[str]) -> None:
    assert ranges(text).ranges == expected


def test_abbreviation_and_values() -> None:
    arguments = ranges("--keep=stash --fo --fill=0xcc buf")
    assert arguments.value("keep") == "stash"
    assert arguments.flag("force")
    assert arguments.value("fill") == "0xcc"


def test_optional_value_does_not_take_the_range() -> None:
    arguments = ranges("--keep all")
    assert arguments.flag("keep")
    assert arguments.value("keep") is None
    assert arguments.ranges == ["all"]


def test_quoted_and_bracketed_values() -> None:
    assert ranges("--fill 'my file' a").value("fill") == "my file"
    assert ranges("--kind (x > 3 && y) a").value("kind") == "(x > 3 && y)"
    assert ranges("--kind c=='a' a").value("kind") == "c=='a'"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("--k a", "ambiguous-option"),
        ("--bogus a", "unknown-option"),
        ("a --bogus", "unknown-option"),
        ("a --fill", "missing-value"),
        ("--force=1 a", "bad-value"),
        ("--keep=other a", "bad-value"),
        ("--fill 1 --fill 2 a", "repeated-option"),
        ("", "missing-argument"),
        ("a -- -- b", "missing-argument"),
        ("a -- ", "missing-argument"),
    ],
)
def test_refusals_have_their_kind(text: str, kind: str) -> None:
    with pytest.raises(UsageError) as caught:
        ranges(text)
    assert caught.value.kind == kind
    assert "\n" not in caught.value.line()


def test_ambiguity_lists_the_candidates() -> None:
    with pytest.raises(UsageError, match="--keep, --kind"):
        ranges("--k a")


@pytest.mark.parametrize(
    "text",
    ["-h", "--help", "--h", "buf --help", "--help --json", "--json -h", "-h --json",
     "--force --keep -h", "buf, +4 --force -h"],
)  # fmt: skip
def test_help_needs_no_operand(text: str) -> None:
    assert ranges(text).flag("help")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--force p -h", ["p -h"]),
        ("a -- p -h", ["a", "p -h"]),
        ("(-h), +4", ["(-h), +4"]),
        ("-- -h, +4", ["-h, +4"]),
        ("-- -h + p, +4", ["-h + p, +4"]),
        ("--range -h a", ["a", "-h"]),
    ],
)
def test_a_variable_of_that_name_is_no_help(text: str, expected: list[str]) -> None:
    arguments = ranges(text)
    assert not arguments.flag("help")
    assert arguments.ranges == expected


def test_help_after_words() -> None:
    assert parse("show -h", (), Operands("FILE", leading=("VERB",), many=False)).flag("help")
    assert parse("1 2 -h", (), Operands("N")).flag("help")
    advice = Operands("RANGE", ranges=True, required=True, leading=("ADVICE",))
    assert parse("cold -h", (), advice).flag("help")
    assert parse("cold p -h", (), advice).ranges == ["p -h"]


def test_leading_words() -> None:
    operands = Operands("RANGE", ranges=True, required=True, leading=("ADVICE",))
    arguments = parse("cold --force buf, +1M", OPTIONS, operands)
    assert arguments.leading == ["cold"]
    assert arguments.ranges == ["buf, +1M"]
    with pytest.raises(UsageError, match="ADVICE"):
        parse("", OPTIONS, operands)


def test_no_operands_wanted() -> None:
    with pytest.raises(UsageError) as caught:
        parse("junk", (), NO_OPERANDS)
    assert caught.value.kind == "extra-argument"


def test_one_range_only() -> None:
    operands = Operands("RANGE", ranges=True, required=True, many=False)
    with pytest.raises(UsageError) as caught:
        parse("a -- b", (), operands)
    assert caught.value.kind == "extra-argument"


def test_words_know_their_place() -> None:
    text = "  a(b c)  'd e'"
    assert [(w.text, text[w.start : w.end]) for w in words(text)] == [
        ("a(b c)", "a(b c)"),
        ("'d e'", "'d e'"),
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("'a b'", "a b"), ('"x"', "x"), ("'a'=='b'", "'a'=='b'"), ("'", "'"), ("a'b'", "a'b'")],
)
def test_unquote(value: str, expected: str) -> None:
    assert unquote(value) == expected
