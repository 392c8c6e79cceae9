"""``pagemap-check``: does what the kernel shows agree with what pagezap knows?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.commands.framework.options import OPTIONAL_RANGES, RANGE_OPTION, Option
from pagezap.debugger.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.memory.findings import Finding
    from pagezap.commands.session.context import Context


class CheckResult(Result):
    """Pages by state, and what does not agree."""

    def __init__(self, counts: Mapping[str, int], findings: Sequence[Finding]) -> None:
        """Show the counts and the findings."""
        self._counts = counts
        self._findings = findings

    @property
    def consistent(self) -> bool:
        """Whether no finding is worse than a warning."""
        return not any(finding.severity == "error" for finding in self._findings)

    def json(self) -> dict[str, object]:
        """Return the keys that commands.md fixes."""
        return {
            "consistent": self.consistent,
            "pages": dict(self._counts),
            "findings": [finding.json() for finding in self._findings],
        }

    def text(self) -> str:
        """Return the counts, the findings, and the verdict."""
        from pagezap.commands.memory.text import span

        # "marker" counts the kinds of markers already.
        states = ", ".join(
            f"{number} {state}"
            for state, number in self._counts.items()
            if number and not state.startswith("marker-")
        )
        lines = [f"Pages: {states or 'none'}"]
        for finding in self._findings:
            where = f"{finding.kind}: {span(finding.start, finding.length)}"
            lines += [
                f"{finding.severity}: {where}: {finding.detail}",
                f"    {finding.consequence}",
            ]
        lines.append("Consistent" if self.consistent else "Not consistent")
        return "\n".join(lines)


class PagemapCheck(Command):
    """Compares what the kernel shows with what pagezap knows."""

    name = "pagemap-check"
    summary = "Check that pagemap, smaps and the registration agree with what pagezap knows"
    description = """\
Counts the pages of the ranges by state, everything the program has mapped where no
range is given, and lists what does not agree:

info: another tool would be misled, although all is as it should be. kept-not-populated
(a kept page counts as never touched), marker-reads-as-swap (an empty page with a marker
counts as swapped out), zero-page (counted as present, takes no memory), zapped-but-populated
(a zapped page is there again), fill-not-populated (a page whose content waits).

warning: something is not as the kernel's books say. smaps-differs, watch-open (a page
of an enabled watch can be written unseen until the inferior resumes).

error: pagezap's knowledge is wrong, content or a watch is in danger. kept-but-resident,
registration-lost, watch-lost. With any of these `consistent' is false."""
    options = (
        Option("trust", "take this reader's word; not there yet", metavar="READER"),
        Option("verify", "compare contents as well; not there yet"),
        RANGE_OPTION,
    )
    operands = OPTIONAL_RANGES
    examples = (
        ("pagemap-check", "checks the whole inferior"),
        ("pagemap-check [heap]", "checks one mapping"),
    )

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Read everything in the state the inferior runs with, and compare."""
        from pagezap.commands.memory.findings import Checker
        from pagezap.commands.memory.scene import Scene

        for name in ("trust", "verify"):
            if arguments.flag(name):
                raise UnsupportedError(
                    f"--{name} is not there yet", hint="Leave it out to compare all readers"
                )
        scene = Scene(context)
        pieces = scene.pieces(arguments.ranges, purpose="pagemap-check")
        with scene.hidden():
            checker = Checker(scene, pieces)
            return CheckResult(checker.counts, checker.findings())
