"""The one object per debugger that knows its sessions and hears of stops."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pagezap.debugger import procfs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pagezap.commands.session.hits import HitLog
    from pagezap.commands.session.session import Session
    from pagezap.commands.session.trace import Trace
    from pagezap.debugger.api import Debugger, Stop


class ReleaseResult(NamedTuple):
    """What a release did."""

    had_session: bool
    refaulted: int = 0
    """Pages brought back."""
    left: Sequence[str] = ()
    """What could not be taken out of the inferior."""


class Context:
    """The sessions of one debugger, by process, and its listener."""

    def __init__(self, debugger: Debugger) -> None:
        """Listen to ``debugger``; no session is set up before a command needs one."""
        self.debugger = debugger
        self._sessions: dict[int, Session] = {}
        self._left: Trace | None = None
        """What the session that ended last had recorded, until another begins."""
        debugger.set_listener(self)
        # A condition that names them can be tried before the first hit.
        for name in ("_uffd_watch", "_uffd_addr"):
            debugger.set_convenience(name, 0)

    # -- what commands ask for -------------------------------------------------------
    def session(self) -> Session | None:
        """Return the session of the current live inferior, None where there is none."""
        return self._sessions.get(self.debugger.pid()) if self._sessions else None

    def require_session(self, *, no_move: bool = False) -> Session:
        """Return the current inferior's session, set up now where there was none."""
        from pagezap.commands.session.session import create

        session = self.session()
        if session is None:
            with self.debugger.uninterrupted():
                session = create(self.debugger, no_move=no_move)
                session.at_rest = self._rest
                self._sessions[session.pid] = session
                self._left = None
        return session

    def release(self, *, ending: bool = False) -> ReleaseResult:
        """Bring everything of the current inferior back and leave nothing of ours.

        Where that is refused the session stays as it is, to be released once more. A debugger
        that is ``ending`` makes no steps for it.
        """
        from pagezap.native.control import HelperGoneError

        session = self.session()
        if session is None:
            return ReleaseResult(had_session=False)
        with self.debugger.uninterrupted():
            self._keep_trace(session)
            try:
                refaulted = session.release()
            except HelperGoneError:
                self._forget(session.pid)
                raise
            self._forget(session.pid)
            left = session.remove_rest(ending=ending)
        return ReleaseResult(had_session=True, refaulted=refaulted, left=left)

    def _forget(self, pid: int) -> None:
        """Drop the session of a process; a helper that still serves it releases it then."""
        session = self._sessions.pop(pid, None)
        if session is not None:
            session.client.close()
            self._rest()

    def _rest(self) -> None:
        """Let the debugger show each stop again where no session awaits one of its own."""
        if not any(session.watches.armed for session in self._sessions.values()):
            self.debugger.disarm_stop_signal()

    def trace(self) -> Trace:
        """Return what is recorded: of the current inferior, or else by the last session."""
        from pagezap.commands.session.trace import Trace

        session = self.session()
        return session.trace() if session is not None else self._left or Trace()

    def clear_trace(self) -> bool:
        """Forget what is recorded; return whether there was anything that records or did."""
        session = self.session()
        if session is not None:
            session.client.trace_clear()
        left, self._left = self._left, None
        return session is not None or left is not None

    def _keep_trace(self, session: Session, *, symbols: bool = True) -> None:
        """Read what is recorded as long as there is somebody to ask."""
        with suppress(OSError):
            self._left = session.trace(symbols=symbols)

    def hits(self) -> HitLog:
        """Return the hits of the current inferior."""
        session = self.session()
        if session is None:
            from pagezap.commands.session.hits import HitLog

            return HitLog()
        return session.hits

    # -- what the debugger tells -------------------------------------------------------
    def stopped(self, stop: Stop) -> None:
        """Serve the hits at a stop and show the one that ends it."""
        session = self.session()
        if session is None:
            self._show_others(None)
            return
        with self._losing(session):
            session.stopped(stop)
        self._show_others(session)
        hit = session.hits.last
        if hit is not None:
            from pagezap.commands.session.report import describe

            self.debugger.write(describe(hit, self.debugger))

    def _show_others(self, current: Session | None) -> None:
        """Show what the other inferiors have: they ran as well and stand now."""
        for session in list(self._sessions.values()):
            if session is not current:
                with self._losing(session):
                    session.stand()

    def resuming(self, pids: Collection[int]) -> None:
        """Put the memory of these inferiors into the state they run with."""
        for pid in pids:
            session = self._sessions.get(pid)
            if session is not None:
                with self._losing(session):
                    session.resuming()

    def calling(self) -> None:
        """Open what the function might touch."""
        session = self.session()
        if session is not None:
            with self._losing(session):
                session.calling()

    def called(self) -> None:
        """Go back to what was before the call."""
        session = self.session()
        if session is not None:
            with self._losing(session):
                session.called()

    def exited(self, pid: int) -> None:
        """Forget the session of a process that is gone; its helper ends by itself."""
        session = self._sessions.get(pid)
        if session is not None:
            # One that lives is another program now, to which the symbols belong.
            self._keep_trace(session, symbols=not procfs.alive(pid))
        self._forget(pid)
        # The debugger stops all others at an end.
        self._show_others(None)

    def releasing(self, *, ending: bool = False) -> None:
        """Release the current inferior: the debugger lets it go.

        Stop signals that are on their way are taken back by steps. Where none can be made the
        helper releases by itself, once its owner is gone, and waits for them.
        """
        session = self.session()
        if session is None:
            return
        with self._losing(session):
            if ending and session.watches.armed:
                self._forget(session.pid)
                return
            left = self.release(ending=ending).left
            if left:
                self.debugger.warn(f"pagezap: left in the inferior: {', '.join(left)}\n")

    def has(self, session: Session) -> bool:
        """Return whether a session has not ended."""
        return self._sessions.get(session.pid) is session

    def _losing(self, session: Session) -> _Losing:
        return _Losing(self, session)


class _Losing:
    """Turns what the helper refuses into one line, and one that has died into a forgotten session.

    Its keeper brings the kept pages back; nothing here may wait for it.
    """

    def __init__(self, context: Context, session: Session) -> None:
        self._context = context
        self._session = session

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> bool:
        from pagezap.native.control import ControlError, HelperGoneError

        if not isinstance(error, ControlError):
            return False
        if not self._context.has(self._session):
            # It ended meanwhile.
            return True
        helper = f"pagezap: the helper of process {self._session.pid}"
        if isinstance(error, HelperGoneError):
            self._context.exited(self._session.pid)
            self._context.debugger.warn(
                f"{helper} has gone ({error}); "
                "its watches are lost, kept pages are being brought back\n"
            )
        else:
            self._context.debugger.warn(
                f"{helper} refused {error.op.lower().replace('_', ' ')} ({error.strerror}); "
                "what is kept and watched stays as it is now\n"
            )
        return True
