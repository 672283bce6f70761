"""What the routes call: one of each a process. Must never decide whether a key is good."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from aiohttp import web
from prometheus_client import generate_latest

from projections.runner import CatchUp
from service.api.context import Context, Services
from service.api.execution import Executor
from service.authorization import Caller, Principal, Visitor
from service.availability import LONGEST_VERIFICATION_S, RETRY_AFTER_S, UNAVAILABLE, is_unavailable
from service.cookie_entrance import CookieEntrance
from service.core import Core
from service.credential import ANYTHING, Credential, Verification, Wanted
from service.credential_reader import CredentialReader
from service.enforcement import Enforcer
from service.lease import Node
from service.lease_keeper import LeaseKeeper
from service.member_sessions import MemberSessions
from service.metrics import Metrics
from service.pacing import Pace
from service.requests import Requests
from service.sessions import Session, Sessions, presented_to
from service.streams import Streams
from service.tail import Tail
from service.tree_keeper import TreeKeeper
from service.verified_cache import VerifiedCache
from service.verify import Verifier
from service.web import verification
from service.web.address import client_address
from service.web.credentials import CredentialError, Nobody, is_presented, presented_key

LONGEST_LAG_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifying:
    """How this process verifies from memory, and enforces what restricts that."""

    cache: VerifiedCache[Verification]
    node: Node[Verification]
    keeper: LeaseKeeper
    enforcer: Enforcer
    reader: CredentialReader
    verifier: Verifier
    sessions: Sessions
    member_sessions: MemberSessions
    tail: Tail


class Lag:
    """How far the read models are behind, which the database is asked; a scrape waits no longer than a second."""

    def __init__(self, catch_up: CatchUp, metrics: Metrics) -> None:
        self._catch_up = catch_up
        self._metrics = metrics
        self._asking: asyncio.Task[None] | None = None

    async def refreshed(self) -> None:
        """Ask again; where the database is away, or only hangs, the last values stay."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="lag")
        await asyncio.wait([self._asking], timeout=LONGEST_LAG_S)

    async def _ask(self) -> None:
        with contextlib.suppress(*UNAVAILABLE):
            for name, events in (await self._catch_up.lag()).items():
                self._metrics.read_model_lag.labels(name).set(events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrances:
    """What the routes call, one of each a process."""

    core: Core
    verifying: Verifying
    cookies: CookieEntrance
    services: Services
    executor: Executor
    streams: Streams
    catch_up: CatchUp
    keeper: TreeKeeper
    metrics: Metrics
    pace: Pace
    lag: Lag
    requests: Requests = field(default_factory=Requests)
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    replaced: asyncio.Event = field(default_factory=asyncio.Event)

    async def authenticate(self, request: web.Request) -> Principal | Nobody:
        """Verify the one credential of a request and count its use: a key, or else its session's cookie.

        Raises CredentialError, and RefusedError where the request is not fit for a cookie.
        """
        if not is_presented(request.headers):
            return await self.cookies.authenticate(request)
        credential = await self.credential(request, self.verify)
        self.record(credential, request)
        return credential.principal

    async def authenticate_key(self, request: web.Request) -> Principal:
        """Verify the one key of a request and count its use. Raises CredentialError."""
        credential = await self.credential(request, self.verify)
        self.record(credential, request)
        return credential.principal

    async def confirm(self, request: web.Request) -> None:
        """Verify the credential of a request once more, before it is answered. Raises CredentialError."""
        if not is_presented(request.headers):
            return await self.cookies.confirm(request)
        await self.credential(request, self.services.verifier.verify)
        return None

    async def open_session(self, request: web.Request, presented: str | None = None) -> Session:
        """Verify a credential that is to be used for a while, the request's own unless another key, and count one use.

        Raises CredentialError, and RefusedError where the request is not fit for a cookie.
        """
        if presented is None and not is_presented(request.headers):
            session = await self.cookies.open(request)
        else:
            key = presented_key(request.headers) if presented is None else presented
            credential = await self.credential_of(key, self.verify)
            session = self.verifying.sessions.open(presented_to(self.verifying.verifier, key), credential)
            self.record(credential, request)
        session.address = client_address(request, self.core.settings.trusted_proxies)
        return session

    async def credential(self, request: web.Request, verify: verification.Verify) -> Credential:
        """Verify the one credential of a request. Raises CredentialError."""
        return await self.credential_of(presented_key(request.headers), verify)

    async def credential_of(self, presented: str, verify: verification.Verify) -> Credential:
        """Verify a presented key. Raises CredentialError."""
        try:
            verified = await verify(presented, ANYTHING)
        except Exception as error:
            if not is_unavailable(error):
                raise
            raise CredentialError(503, "The service is busy: try again.", RETRY_AFTER_S) from error
        if verified.failure is not None or verified.credential is None:
            raise CredentialError(401, "Unauthorized")
        return verified.credential

    def acceptor(self) -> verification.Accept:
        """Make the function that accepts a presented key from memory and counts its use, for as many as come."""
        recall, record = self.services.verifier.recall, self.services.usage.record
        count, times = self.metrics.verifications.count, self.metrics.requests.of("/verify", 200)
        trusted = self.core.settings.trusted_proxies

        def accept(presented: str, wanted: Wanted, request: web.Request) -> Credential | None:
            began = perf_counter()
            verified = recall(presented, wanted)
            if verified is None or verified.failure is not None or verified.credential is None:
                return None
            count(verified)
            record(verified.credential, client_address(request, trusted) if trusted else request.remote)
            times.observe(perf_counter() - began)
            return verified.credential

        return accept

    async def verify(self, presented: str, wanted: Wanted) -> Verification:
        """Verify a presented key and count how it ended. Raises TimeoutError where it cannot be told soon."""
        async with asyncio.timeout(LONGEST_VERIFICATION_S):
            verified = await self.services.verifier.verify(presented, wanted)
        self.metrics.verifications.count(verified)
        if verified.failure is not None:
            await self.pace.wait()
        return verified

    def record(self, credential: Credential, request: web.Request) -> None:
        """Count a use of a key."""
        self.services.usage.record(credential, client_address(request, self.core.settings.trusted_proxies))

    def context(self, request: web.Request, principal: Principal | Nobody, request_id: str) -> Context:
        """Make what the resolvers of a request see."""
        address = client_address(request, self.core.settings.trusted_proxies)
        if isinstance(principal, Nobody):
            return Context(caller=Visitor(address=address, request_id=request_id), services=self.services)
        caller = Caller(principal=principal, address=address, request_id=request_id)
        return Context(caller=caller, services=self.services)

    async def database_problem(self) -> str | None:
        """Say what is wrong with the database, if anything is."""
        try:
            async with asyncio.timeout(1):
                await self.core.pool.fetchval("select 1")
        except Exception as error:  # noqa: BLE001 -- whatever it is, the process is not ready
            return f"the database does not answer ({type(error).__name__})"
        return None

    async def expose(self) -> str:
        """Write the metrics; where the database must be asked for one and is away, the last value stays."""
        await self.lag.refreshed()
        return generate_latest(self.metrics.registry).decode()

    async def draining_problem(self) -> str | None:
        """Say that the process is about to end, if it is and no other has taken its place on the port."""
        return "the process is stopping" if self.draining.is_set() and not self.replaced.is_set() else None

    async def read_model_problem(self) -> str | None:
        """Say which read models were stopped by an event, if any were."""
        return None if not self.catch_up.stopped_at else f"stopped by an event: {', '.join(self.catch_up.stopped_at)}"

    async def tree_problem(self) -> str | None:
        """Say why the log's trees do not grow or are not signed, if so."""
        return self.keeper.problem
