"""Keys and cookies that go on being used: each session is one of them on one connection that is answered for a while.

What memory says of it is looked at again whenever something is sent on its word, which costs about a microsecond. When
its token or its member changes, nothing is sent to the session from the moment this process knows, before it
acknowledges the change; it is verified anew, and ended when it is not good any more. Must never send on the word of a
key or a cookie that was good once.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog

from service.authorization import Principal
from service.availability import is_unavailable
from service.credential import Credential, MemberCredential, MemberVerification, Verification
from service.lease import Clock
from service.verify import Watch

UNAUTHORIZED_CODE: Final = 4401
"""Close code of `graphql-transport-ws` for who is not authenticated: clients do not come back with that key."""
UNAUTHORIZED: Final = "Unauthorized"
RETRY_PAUSE_S: Final = 0.1
LONGEST_SETTLING_S: Final = 0.25
"""How long an acknowledgement waits for sessions to be verified anew; nothing is sent to them meanwhile."""
LONGEST_TIMER_S: Final = 86_400.0

OnEnd = Callable[[int, str], None]
Known = Credential | MemberCredential
Verified = TypeVar("Verified", Verification, MemberVerification)

log = structlog.get_logger(__name__)


class Stream(Protocol):
    """What goes on in a session and depends on what its key or its member may do."""

    def restart(self) -> None:
        """Go on by what they may do now."""


class Prover(Protocol[Verified]):
    """What verifies keys, or cookies."""

    def watch(self, presented: str, /) -> Watch[Verified]:
        """Digest what was presented, to recall what is known of it."""

    async def verify_again(self, watch: Watch[Verified], /) -> Verified:
        """Say whether it is good now."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A key or a cookie that was presented, and is looked at again and again."""

    recall: Callable[[], Verification | MemberVerification | None]
    """Says what memory knows of it."""
    ends_s: Callable[[], float]
    verify: Callable[[], Awaitable[Verification | MemberVerification]]


def presented_to(prover: Prover[Verified], presented: str) -> Presented:
    """Digest once what was presented: nothing else of it is kept."""
    watch = prover.watch(presented)
    return Presented(watch.recall, watch.ends_s, partial(prover.verify_again, watch))


def unnoticed() -> None:
    """Do nothing."""


class Session:
    """One verified key or cookie on one connection, for as long as both last."""

    def __init__(self, sessions: "Sessions", presented: Presented, credential: Known) -> None:
        self.credential = credential
        self.address: str | None = None
        self.on_use: Callable[[], None] = unnoticed
        """Called for each operation."""
        self.ended = asyncio.Event()
        self.streams: set[Stream] = set()
        self._sessions = sessions
        self._presented = presented
        self._proved = presented.recall()
        self._confirming: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._on_end: list[OnEnd] = []
        self._set_timer()

    @property
    def principal(self) -> Principal:
        """Say who acts."""
        return self.credential.principal

    def on_end(self, callback: OnEnd) -> None:
        """Call with a close code and a reason when nothing may be sent any more: to close the connection at once."""
        self._on_end.append(callback)

    def is_good(self) -> bool:
        """Say whether something may be sent now, on the word of what was proved."""
        proved = self._proved
        return proved is not None and self._presented.recall() is proved

    async def confirmed(self) -> bool:
        """Wait until something may be sent, or it has turned out that nothing may any more: then False."""
        while not self.ended.is_set():
            if self.is_good():
                return True
            self.doubt()
            if self._confirming is not None:
                await asyncio.shield(self._confirming)
        return False

    def doubt(self) -> None:
        """Verify anew: the token or the member may have changed."""
        if self._confirming is None and not self.ended.is_set():
            self._confirming = asyncio.create_task(self._confirm(), name="confirm")

    def end(self, code: int, reason: str) -> None:
        """End what goes on, at once."""
        if self.ended.is_set():
            return
        self.close()
        for callback in self._on_end:
            callback(code, reason)

    def close(self) -> None:
        """Let go of it: the connection is gone, or will be."""
        self.ended.set()
        self._sessions.forget(self)
        if self._timer is not None:
            self._timer.cancel()

    async def _confirm(self) -> None:
        try:
            while not self.ended.is_set() and not await self._is_confirmed():  # noqa: ASYNC110 -- nothing tells when
                await asyncio.sleep(RETRY_PAUSE_S)
        finally:
            self._confirming = None
            self._sessions.settle(self)

    async def _is_confirmed(self) -> bool:
        try:
            verified = await self._presented.verify()
        except Exception as error:
            if not is_unavailable(error):
                log.exception("session_not_verified")
            return False
        if verified.failure is not None or verified.credential is None:
            self.end(UNAUTHORIZED_CODE, UNAUTHORIZED)
            return True
        before, self.credential, self._proved = self.credential, verified.credential, verified
        if before.principal.view != self.principal.view:
            for stream in tuple(self.streams):
                stream.restart()
        self._set_timer()
        return self.is_good()  # not without a lease: then it is asked again

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left_s = self._presented.ends_s() - self._sessions.clock.steady()
        if 0 < left_s < LONGEST_TIMER_S:
            self._timer = asyncio.get_running_loop().call_later(left_s, self.doubt)
        elif left_s > 0:
            self._timer = asyncio.get_running_loop().call_later(LONGEST_TIMER_S, self._set_timer)


class Sessions:
    """The sessions of this process, by the token or the member that they are of."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._by_subject: defaultdict[str, set[Session]] = defaultdict(set)
        self._in_doubt: set[Session] = set()
        self._settled: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Count them."""
        return sum(map(len, self._by_subject.values()))

    def open(self, presented: Presented, credential: Known) -> Session:
        """Begin a session of what was just verified, with nothing awaited since."""
        session = Session(self, presented, credential)
        self._by_subject[credential.subject].add(session)
        return session

    def forget(self, session: Session) -> None:
        """Let go of a session that has ended."""
        subject = session.credential.subject
        own = self._by_subject[subject]
        own.discard(session)
        if not own:
            del self._by_subject[subject]
        self.settle(session)

    def changed(self, subject: str | None) -> None:
        """Verify anew the sessions of what has changed, or all: nothing is sent to them meanwhile."""
        subjects = tuple(self._by_subject) if subject is None else (subject,)
        for changed in subjects:
            for session in tuple(self._by_subject.get(changed, ())):
                self._in_doubt.add(session)
                session.doubt()

    def settle(self, session: Session) -> None:
        """Note that it is known of a session whether it is still good."""
        self._in_doubt.discard(session)
        if not self._in_doubt:
            self._settle()

    def settling(self) -> asyncio.Future[None] | None:
        """Answer what is done when each session in doubt is verified anew, or was long enough; None when none is."""
        if not self._in_doubt:
            return None
        if self._settled is None:
            loop = asyncio.get_running_loop()
            self._settled = loop.create_future()
            loop.call_later(LONGEST_SETTLING_S, self._give_up, self._settled)
        return self._settled

    def _give_up(self, waited_for: asyncio.Future[None]) -> None:
        if not waited_for.done():
            self._in_doubt.clear()
            self._settle()

    def _settle(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None and not settled.done():
            settled.set_result(None)
