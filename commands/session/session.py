"""One session: an inferior with our agent in it and a helper that serves its faults."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from pagezap.commands.session import install, preflight
from pagezap.commands.session.hits import HitHandler, HitLog
from pagezap.commands.session.watches import WatchTable
from pagezap.debugger.errors import (
    HelperError,
    InjectionError,
    PagezapError,
    RangeError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pagezap.commands.session.trace import Trace
    from pagezap.debugger.api import Debugger, Stop
    from pagezap.native.control import Client


class Session:
    """What pagezap has in one inferior. Made by ``create``, ended by ``release``."""

    def __init__(self, debugger: Debugger, client: Client, installed: install.Installed) -> None:
        """Wrap a helper that runs; use ``create``."""
        from pagezap.debugger.arch import for_machine

        inferior = debugger.inferior()
        self.pid = inferior.pid
        self.client = client
        self.watches = WatchTable(debugger, client)
        self.hits = HitLog()
        self._debugger = debugger
        self._installed = installed
        self._arch = for_machine(inferior.machine)
        self._handler = HitHandler(debugger, self._arch, client, self.watches, self.hits)
        self.at_rest: Callable[[], None] = lambda: None
        """Called where the session awaits no stop signals any more."""
        self._shown = False
        self._opened = False
        """Whether all is shown for the debugger's call of a function only."""
        self._stashes: list[tuple[int, int]] = []
        """The helper's own mappings when it was released."""
        self._stopped = True
        """Sessions are set up in a stopped inferior."""

    @property
    def own_ranges(self) -> list[tuple[int, int]]:
        """Our own mappings in the inferior, (start, length) in bytes."""
        return install.own_ranges(self._installed) + self.client.own()

    @property
    def shown(self) -> bool:
        """Whether kept and watched pages are open to the debugger just now."""
        return self._shown

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Put the inferior's memory into the state it runs with, for the body.

        While it is stopped, kept pages are present and watched ones writable so that
        the debugger can look and write; inside this they are away and protected.
        """
        self.hide()
        try:
            yield
        finally:
            if self._stopped:
                self.show()
                self._rest()

    def _rest(self) -> None:
        """Await no stop signals any more where no watch is left to send one."""
        if self.watches.armed and not self.watches.any_stopping():
            self._take_signals_back()
            self.watches.armed = False
            self.at_rest()

    def count_traced(self) -> None:
        """Bring the hits of the watches that trace up to date: the helper records them."""
        counts = self.client.watch_counts()
        for watch in self.watches.all():
            if watch.mode == "trace":
                watch.hits = counts.get(watch.id, watch.hits)

    def trace(self, *, symbols: bool = True) -> Trace:
        """Return the recorded accesses, without symbols where the debugger has others now."""
        from pagezap.commands.session import trace

        return trace.read(self.client, self._arch, self._debugger if symbols else None)

    def show(self) -> None:
        """Let the debugger see kept pages and write watched ones."""
        self.client.show()
        self._shown = True

    def hide(self) -> None:
        """Take kept pages away again and protect watched ones."""
        if self._shown:
            lost = self.client.hide().lost
            self._shown = False
            if lost:
                self._debugger.warn(
                    f"pagezap: {lost} kept page{'s' * (lost > 1)} could not be taken away again "
                    "and stay resident\n"
                )

    def stopped(self, stop: Stop) -> Stop:
        """Serve the hits at a stop; return the stop that the user is to see."""
        if self.watches.armed:
            stop = self._handler.handle(stop)
            self._shown = self._shown or self.hits.last is not None
        else:
            self.hits.forget()
        if stop.reason != "exited":
            self._stopped = True
            self._opened = False
            if not self._shown:
                self.show()
        if stop.reason == "step" and self.hits.last is None and not stop.pinned:
            # What a temporary watch, deleted at its hit, has left on the way has come by now.
            self._rest()
        return stop

    def stand(self) -> None:
        """Show what there is, after a stop that another inferior is to answer for."""
        self._stopped = True
        if not self._shown:
            self.show()

    def calling(self) -> None:
        """Open everything: the debugger calls a function, which no watch may stop."""
        self._opened = not self._shown
        if self._opened:
            self.show()
        self.client.calling()

    def called(self) -> None:
        """Go back to the state before the call."""
        if self._opened:
            self._opened = False
            self.hide()
        else:
            self.client.show()

    def resuming(self) -> None:
        """Restore what the inferior runs with; all its threads are stopped."""
        self._stopped = False
        self.hide()

    def release(self) -> int:
        """Bring everything back and end the helper; return the pages brought back."""
        if self._stopped:
            self.show()
            self._take_signals_back()
        self._stashes = self.client.own()
        return self.client.release()

    def remove_rest(self, *, ending: bool) -> list[str]:
        """Take out what the release left, whose agent somebody had killed; name what stays.

        That takes steps, which a debugger that is ``ending`` does not make.
        """
        from pagezap.debugger.inject import Injector

        rest = self._rest_of_ours() if self._stopped else []
        if ending or not rest:
            return rest
        with suppress(PagezapError):
            install.remove(self._debugger, Injector(self._debugger), self._installed, self._stashes)
        return self._rest_of_ours()

    def _rest_of_ours(self) -> list[str]:
        """Name what is still in the inferior of what was ours."""
        rest = [
            f"descriptor {number}" for number in install.descriptors_left(self.pid, self._installed)
        ]
        for start, length in install.own_ranges(self._installed) + self._stashes:
            with suppress(RangeError):
                self._debugger.read_memory(start, 1)
                rest.append(f"{start:#x}-{start + length:#x}")
        return rest

    def _take_signals_back(self) -> None:
        """Consume the helper's stop signals that are still on their way to a thread.

        Left alone they would stop the inferior for good once it runs without us. What the
        debugger has taken from the kernel and not told yet cannot be asked for: so each
        thread steps over a call of ours, and takes its signal before. Hits are dropped.
        """
        from pagezap.debugger.inject import Injector

        if not self.watches.armed:
            return
        selected = self._debugger.selected_thread()
        with ExitStack() as undo:
            undo.callback(self._debugger.select_thread, selected)
            self.client.detaching(True)
            undo.callback(self.client.detaching, False)
            for thread in self._debugger.threads():
                self._debugger.select_thread(thread)
                # A thread that may not or cannot make a call keeps its signal; the others go on.
                with suppress(UnsupportedError, InjectionError):
                    Injector(self._debugger).take_signal("SIGSTOP")


def create(debugger: Debugger, *, no_move: bool = False) -> Session:
    """Set a session up in the stopped inferior, or refuse with nothing changed."""
    from pagezap import native
    from pagezap.debugger.inject import Injector
    from pagezap.native import launch

    inferior = debugger.inferior()
    debugger.check_modes(stops=False)
    preflight.check(inferior)
    injector = Injector(debugger)
    installed = install.install(debugger, injector, native.agent_image())
    try:
        client = launch.start(
            inferior.pid,
            uffd=installed.uffd,
            command=installed.command,
            mailbox=installed.mailbox,
            code=installed.code,
            code_length=install.CODE_LENGTH,
            no_move=no_move,
        )
    except OSError as error:
        install.remove(debugger, injector, installed)
        raise HelperError(
            f"The helper did not start: {error}", hint="uffd-doctor tells what is missing"
        ) from error
    return Session(debugger, client, installed)
