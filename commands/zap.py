"""``zap``: drop pages, or take them away and hold them."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

from pagezap.commands.framework.command import Command, Result
from pagezap.commands.framework.options import RANGE_OPTION, RANGES, Option
from pagezap.commands.memory import fill
from pagezap.debugger.errors import PagezapError, UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagezap.commands.framework.parser import Arguments
    from pagezap.commands.memory.fill import Fill
    from pagezap.commands.memory.hazards import Hazard
    from pagezap.commands.memory.zapping import Outcome
    from pagezap.commands.session.context import Context


class ZapResult(Result):
    """What a zap did, or with ``--dry-run`` would do."""

    def __init__(
        self,
        outcomes: Sequence[Outcome],
        hazards: Sequence[Hazard],
        elapsed_us: int,
        *,
        dry: bool,
        done: str = "zapped",
    ) -> None:
        """Collect the outcomes; what was refused makes the result a failure.

        ``done`` says in a word what a dry run would have done.
        """
        self.done = done
        self.outcomes = outcomes
        self.hazards = hazards
        self.elapsed_us = elapsed_us
        self.dry = dry
        refused = [outcome for outcome in outcomes if outcome.reason and not outcome.spared]
        if refused and not dry:
            from pagezap.commands.memory.text import count

            pages = sum(outcome.skipped for outcome in refused)
            self.failure = PagezapError(
                f"{count(pages, 'page')} left alone: {refused[0].reason}",
                hint="The rest was done; see the list",
                kind="partial",
            )

    def json(self) -> dict[str, object]:
        """Return the keys that commands.md fixes."""
        return {
            "ranges": [outcome.json() for outcome in self.outcomes],
            "hazards": [hazard.json() for hazard in self.hazards],
            "elapsed_us": self.elapsed_us,
            "dry_run": self.dry,
        }

    def text(self) -> str:
        """Return a line a range, then what there is to know."""
        from pagezap.commands.memory.text import count, size, span

        lines = []
        for outcome in self.outcomes:
            done = [
                f"{number} {word}"
                for number, word in (
                    (0 if outcome.filled else outcome.zapped, "zapped"),
                    (outcome.filled, "filled"),
                    (outcome.kept, "kept"),
                    (outcome.skipped, "left alone"),
                )
                if number
            ]
            what = ", ".join(done) or "nothing to zap"
            if self.dry and not outcome.reason:
                what = self._promise(outcome)
            reason = f": {outcome.reason}" if outcome.reason else ""
            lines.append(
                f"{span(outcome.piece.start, outcome.piece.length)} {outcome.piece.name}: "
                f"{count(outcome.piece.pages, 'page')} ({size(outcome.piece.length)}), "
                f"{what}{reason}"
            )
        lines += [
            f"warning: {span(hazard.start, hazard.length)}: {hazard.detail}"
            for hazard in self.hazards
        ]
        return "\n".join(lines)

    def _promise(self, outcome: Outcome) -> str:
        there = [f"{outcome.before} resident"]
        if outcome.held and self.done == "kept":
            return f"{there[0]} would be kept by {outcome.via}, {outcome.held} are kept already"
        if outcome.held:
            there.append(f"{outcome.held} kept")
        return f"{' and '.join(there)} would be {self.done} by {outcome.via}"


class Zap(Command):
    """Drops pages."""

    name = "zap"
    summary = "Drop memory pages of the inferior, or take them away and hold them"
    description = """\
Without --keep the contents are gone: anonymous memory then reads as zeros, a private
file mapping as the file. Only whole pages inside the range are dropped, so that no
neighbour is lost; --round out takes the partly covered pages as well.

With --keep the pages are taken away atomically, also under a running program, and
held; the next access brings them back with their content. Keeping rounds out.
With --keep and --fill pages that the debugger's thread library reads at every stop
(the C library's own data, a page or two of each thread) are left alone.

Everything is checked before anything is touched. What would break the inferior or
take memory from another process (its stack, its code, locked or shared memory) is
refused unless --force is given. Shared memory is dropped by punching a hole.

`zapped' counts pages that were dropped, `kept' pages taken away and held, `filled'
pages given a content, and `skipped' pages left alone, each with the reason."""
    options = (
        Option(
            "keep",
            "hold the pages: stash, the default, the same physical pages (store is not there yet)",
            metavar="stash|store",
            optional=True,
            choices=("stash", "store"),
        ),
        fill.OPTION,
        Option("dry-run", "say what would be done, and do nothing"),
        Option("force", "do what loses data or may break the inferior all the same"),
        Option(
            "round",
            "take only whole pages inside the range (in) or all that it touches (out)",
            metavar="in|out",
            choices=("in", "out"),
        ),
        Option(
            "via",
            "how: from outside, by the agent, by an injected call, or the best (auto)",
            metavar="auto|remote|agent|inject",
            choices=("auto", "remote", "agent", "inject"),
        ),
        RANGE_OPTION,
    )
    operands = RANGES
    examples = (
        ("zap buf, +64K", "drops 16 pages from the address buf"),
        ("zap --keep all", "takes the whole heap away; each page comes back when it is used"),
        ("zap --dry-run map:libc", "tells what a zap of the C library's pages would mean"),
        ("zap --fill 0xcc *pool@16", "lets the next access find bytes of 0xcc"),
    )

    def run(self, context: Context, arguments: Arguments) -> Result:
        """Check everything, then zap."""
        from pagezap.commands.memory.scene import Scene
        from pagezap.commands.memory.zapping import Plan

        keep = arguments.flag("keep")
        if arguments.value("keep") == "store":
            raise UnsupportedError(
                "The store, which gives kept memory back to the system, is not there yet",
                hint="--keep holds the pages in the stash",
            )
        content = _content(arguments, keep=keep)
        via = arguments.value("via", "auto") or "auto"
        if (keep or content) and via not in {"auto", "agent"}:
            raise UsageError(
                f"--keep and --fill work by the agent, not --via {via}",
                hint="Leave --via out",
                kind="conflicting-options",
            )
        rounding = arguments.value("round", "out" if keep else "in") or "in"
        scene = Scene(context)
        targets = scene.targets(arguments.ranges, rounding=rounding, purpose="zap")
        if content is not None:
            content.check(targets)
        plan = Plan(scene, targets, keep=keep, filling=content is not None)
        plan.assess(force=arguments.flag("force"))
        if arguments.flag("dry-run"):
            plan.predict(via)
            done = "kept" if keep else "zapped" if content is None else "filled"
            return ZapResult(plan.outcomes, plan.hazards, 0, dry=True, done=done)
        if not keep:
            plan.confirm()
        begin = perf_counter_ns()
        if keep:
            plan.keep()
        elif content is not None:
            plan.fill(content)
        else:
            plan.drop(via)
        elapsed = plan.elapsed_ns or perf_counter_ns() - begin
        return ZapResult(plan.outcomes, plan.hazards, elapsed // 1000, dry=False)


def _content(arguments: Arguments, *, keep: bool) -> Fill | None:
    """Return what ``--fill`` names, None without it."""
    text = arguments.value("fill")
    if text is None:
        return None
    if keep:
        raise UsageError(
            "--keep holds the content, --fill replaces it",
            hint="Give one of them",
            kind="conflicting-options",
        )
    return fill.parse(text)
