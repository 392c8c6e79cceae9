"""The doing of a zap: assess, ask, keep or fill or drop, and count what became of it."""

from __future__ import annotations

import errno
import os
from time import perf_counter_ns
from typing import TYPE_CHECKING

from pagezap.commands.memory import hazards as hazard_rules
from pagezap.commands.memory import pages, threadlib
from pagezap.commands.memory.scene import within
from pagezap.commands.memory.target import PAGE, split
from pagezap.commands.memory.text import count, size
from pagezap.debugger.errors import HelperError, PagezapError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pagezap.commands.memory.fill import Fill
    from pagezap.commands.memory.hazards import Hazard
    from pagezap.commands.memory.scene import Scene
    from pagezap.commands.memory.target import Piece, Target


class Outcome:
    """What became of one piece of memory. Numbers are pages."""

    def __init__(self, target: Target, piece: Piece) -> None:
        """Start with nothing done."""
        self.target = target
        self.piece = piece
        self.before = 0
        """Pages in memory before, from pagemap."""
        self.after = 0
        self.populated = 0
        """Pages that had content before: in memory or swapped out."""
        self.zapped = 0
        self.held = 0
        """Pages that were kept when a dry run looked."""
        self.filled = 0
        """Pages whose next access finds the content given."""
        self.kept = 0
        self.skipped = 0
        self.via = "none"
        self.reason = ""
        """Why pages were left alone."""
        self.spared = False
        """Whether it was left alone as a rule, which is no failure."""

    def json(self) -> dict[str, object]:
        """Return the outcome as JSON shows it."""
        return self.piece.outcome(
            self.before,
            self.after,
            self.via,
            self.reason,
            zapped=self.zapped,
            kept=self.kept,
            filled=self.filled,
            skipped=self.skipped,
        )


class Plan:
    """One zap, from the assessment to the count. Short-lived: one command."""

    def __init__(
        self, scene: Scene, targets: Sequence[Target], *, keep: bool, filling: bool
    ) -> None:
        """Plan for all pieces of the targets; nothing is touched."""
        self._scene = scene
        self._keep = keep
        self._filling = filling
        self._targets = targets
        self.outcomes = list(self._outcomes())
        self.hazards: list[Hazard] = []
        self.elapsed_ns = 0

    def _outcomes(self) -> Iterator[Outcome]:
        """Yield an outcome a piece; what has to stay for the debugger's sake is one of its own."""
        held = self._keep or self._filling
        reserved = self._scene.thread_library() if held else []
        for target in self._targets:
            for piece in target.pieces:
                for part, spared in split(piece, reserved if piece.anonymous else ()):
                    outcome = Outcome(target, part)
                    if spared:
                        outcome.spared = True
                        outcome.reason = threadlib.REASON
                        outcome.skipped = part.pages
                    yield outcome

    def assess(self, *, force: bool) -> None:
        """Find every hazard. Raises the first refusal that stands.

        Of ranges that gather mappings (``all``, ``map:TEXT``) a refused piece is left
        alone with its reason, and the rest goes on.
        """
        stacks = self._scene.stacks()
        ours = self._scene.session is not None
        todo = False
        first = self._all_spared()
        for outcome in self._active:
            found = self._hazards_of(outcome.piece, ours=ours, stacks=stacks)
            self.hazards += found
            standing = [hazard for hazard in found if hazard.stands(force=force)]
            if standing and standing[0].refusal is not None:
                first = first or standing[0].refusal
                if not outcome.target.gathered:
                    raise standing[0].refusal
                outcome.reason = standing[0].detail
                outcome.skipped = outcome.piece.pages
            else:
                todo = True
        if not todo and first is not None:
            raise first

    def _all_spared(self) -> PagezapError | None:
        """Return why a target of which nothing is left would be refused.

        Raises that where the user has named it by itself.
        """
        first: PagezapError | None = None
        for target in self._targets:
            mine = [outcome for outcome in self.outcomes if outcome.target is target]
            if mine and all(outcome.spared for outcome in mine):
                refusal = hazard_rules.of_thread_library(mine[0].piece)
                if not target.gathered:
                    raise refusal
                first = first or refusal
        return first

    def _hazards_of(
        self, piece: Piece, *, ours: bool, stacks: Sequence[tuple[int, int]]
    ) -> list[Hazard]:
        held = self._keep or self._filling
        forks = [hazard_rules.of_forks(piece)] if held and not self._scene.reports_forks else []
        if self._keep:
            return [*hazard_rules.of_keep(piece, ours=ours), *forks]
        found = hazard_rules.of_drop(piece, ours=ours, stacks=stacks)
        if self._filling and not any(hazard.refusal for hazard in found):
            found = [*hazard_rules.of_keep(piece, ours=ours), *found]
        return [*found, *forks]

    @property
    def _active(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.reason]

    def predict(self, via: str) -> None:
        """Fill in what would be done. Raises what would be refused."""
        from pagezap.commands.memory.drop import check_remote

        if via == "remote":
            check_remote(self._scene.pid, [outcome.piece for outcome in self._active])
        with self._scene.hidden():
            spans = self._scene.held_spans()
            for outcome in self.outcomes:
                outcome.before = outcome.after = self._scene.present(outcome.piece)
                outcome.held = within(outcome.piece, spans)
        for outcome in self._active:
            if self._keep or self._filling:
                outcome.via = "move" if self._keep else "agent"
            elif outcome.piece.shmem and via == "auto":
                outcome.via = "punch"
            else:
                auto = "agent" if self._scene.session is not None else "inject"
                outcome.via = auto if via == "auto" else via

    def confirm(self) -> None:
        """Ask where the debugger asks. Raises PagezapError where the user says no."""
        context = self._scene.context
        if not context.debugger.interactive():
            return
        held = sum(self._scene.present(outcome.piece) for outcome in self._active)
        if not held:
            return
        told = "".join(f"{hazard.detail}\n" for hazard in self.hazards)
        question = (
            f"{told}The content of {count(held, 'page')} ({size(held * PAGE)}) will be lost. Zap?"
        )
        if not context.debugger.confirm(question):
            raise PagezapError("Not confirmed", hint="Nothing was changed", kind="not-confirmed")

    def keep(self) -> None:
        """Take the pages away and hold them."""
        session = self._scene.require_session()
        with session.hidden():
            self._count_before()
            for outcome in self._active:
                self._keep_one(outcome)
            self._count_after()

    def _keep_one(self, outcome: Outcome) -> None:
        from pagezap.native.control import ControlError

        client = self._scene.require_session().client
        piece = outcome.piece
        begin = perf_counter_ns()
        try:
            reply = client.keep(piece.start, piece.length)
        except ControlError as error:
            refusal = refused_keep(piece, error.errno or errno.EIO)
            if len(self._active) == 1:
                raise refusal from error
            outcome.reason = refusal.message
            outcome.skipped = piece.pages
            return
        finally:
            self.elapsed_ns += perf_counter_ns() - begin
        outcome.via = "move" if client.hello.can_move else "copy"
        outcome.kept = reply.kept
        outcome.skipped = reply.skipped
        if reply.skipped and reply.reason:
            outcome.reason = skip_reason(reply.reason)

    def fill(self, content: Fill) -> None:
        """Replace the content: the next access finds the new one."""
        session = self._scene.require_session()
        with session.hidden():
            self._count_before()
            begin = perf_counter_ns()
            for outcome in self._active:
                outcome.filled = content.apply(session.client, outcome.target, outcome.piece)
                outcome.via = "agent"
            self.elapsed_ns = perf_counter_ns() - begin
            self._count_after()
        for outcome in self._active:
            outcome.zapped = max(0, outcome.before - outcome.after)

    def drop(self, via: str) -> None:
        """Drop the pages; their content is gone."""
        from pagezap.commands.memory.drop import Dropper, failure

        if via == "agent":
            self._scene.require_session()
        with self._scene.hidden():
            self._count_before()
            held = self._scene.held_spans()
            dropper = Dropper(self._scene.context, self._scene.pid, via)
            begin = perf_counter_ns()
            done = dropper.drop([outcome.piece for outcome in self._active])
            self.elapsed_ns = perf_counter_ns() - begin
            self._count_after()
            still = self._scene.held_spans()
            errors = []
            for outcome in self.outcomes:
                if outcome.piece.start not in done:
                    continue
                outcome.via, number = done[outcome.piece.start]
                had = outcome.populated + within(outcome.piece, held)
                left = self._scene.present(outcome.piece) + within(outcome.piece, still)
                outcome.zapped = max(0, had - left)
                if number:
                    error = failure(outcome.piece, number)
                    errors.append(error)
                    outcome.reason = error.message
                    outcome.skipped = outcome.piece.pages - outcome.zapped
        if errors and not any(outcome.zapped for outcome in self.outcomes):
            raise errors[0]

    def _count_before(self) -> None:
        for outcome in self.outcomes:
            counts = self._scene.counts(outcome.piece)
            outcome.before = pages.resident(counts)
            outcome.populated = pages.populated(counts)

    def _count_after(self) -> None:
        for outcome in self.outcomes:
            outcome.after = pages.resident(self._scene.counts(outcome.piece))


def refused_keep(piece: Piece, number: int) -> PagezapError:
    """Return the error for a piece that the helper would not keep."""
    if number == errno.ESRCH:
        return HelperError(
            "The agent, pagezap's task in the inferior's memory, has been killed",
            hint="uffd-release brings back what is kept; the next command sets up a new one",
            kind="agent-gone",
        )
    if number == errno.EBUSY:
        return UnsupportedError(
            f"{piece.label()}: is registered with another userfaultfd",
            hint="Leave it to the program that manages it",
            kind="foreign-userfaultfd",
        )
    return UnsupportedError(
        f"{piece.label()}: the kernel does not let its pages be kept ({os.strerror(number)})",
        hint="pagemap-show and uffd-doctor tell more",
        kind="keep-refused",
    )


def skip_reason(number: int) -> str:
    """Return why the kernel did not let pages be taken away."""
    if number == errno.EBUSY:
        return "pinned, or shared with a forked child or merged (KSM)"
    return os.strerror(number)
