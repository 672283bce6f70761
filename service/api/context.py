"""What every resolver gets to see: the caller, the services, and the loaders of this request. Must never outlive it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from uuid import uuid4

from strawberry.dataloader import DataLoader
from strawberry.types import Info

from events.applications import ApplicationState
from events.envelope import Actor
from events.log import Installation
from events.tokens import TokenState
from projections.past import Leave
from projections.tokens import TokenView
from service.application_commands import ApplicationCommands
from service.authorization import Caller, Principal, UnauthenticatedError, Visitor
from service.cursors import Cursors
from service.log_proofs import LogProofs
from service.member_commands import MemberCommands
from service.member_queries import MemberView
from service.queries import Queries
from service.secret_text import SecretText
from service.signing import SignedCheckpoint
from service.time_travel import PastToken
from service.token_commands import TokenCommands
from service.tree_proofs import InclusionProof, Provable, Wanted
from service.usage import UsageRecorder
from service.verify import Verifier

MOST_FOLDED: Final = 10_000
"""How many events of the past one request may have folded: some tenths of a second of a processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the resolvers call."""

    queries: Queries
    proofs: LogProofs
    commands: TokenCommands
    members: MemberCommands
    applications: ApplicationCommands
    verifier: Verifier
    usage: UsageRecorder
    installation: Installation


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """What becomes of the session's cookie in the answer: it gets this secret, or goes where there is none."""

    secret: SecretText | None


class Context:
    """One request. Who presented no credential is nobody until it has signed in."""

    def __init__(self, *, caller: Caller | Visitor, services: Services) -> None:
        self.services = services
        self.leave = Leave(MOST_FOLDED)
        self.cookie: SessionCookie | None = None
        """What a resolver wants to become of the cookie; None leaves it as it is."""
        self._cursors: Cursors | None = None
        self._act_as(caller)

    @property
    def caller(self) -> Caller:
        """Give who asks. Raises UnauthenticatedError for nobody."""
        if isinstance(self._asking, Visitor):
            raise UnauthenticatedError
        return self._asking

    @property
    def visitor(self) -> Visitor:
        """Give the request alone, whoever makes it."""
        return Visitor(address=self._asking.address, request_id=self._asking.request_id)

    @property
    def cursors(self) -> Cursors:
        """Give the cursors of the caller's organization."""
        if self._cursors is None:
            organization = self.caller.principal.organization
            self._cursors = Cursors(installation=self.services.installation, organization=organization)
        return self._cursors

    def begin_session(self, principal: Principal, secret: SecretText) -> None:
        """Go on as a member that has signed in, or again, and hand over the session's secret in the cookie."""
        self._act_as(Caller(principal=principal, address=self._asking.address, request_id=self._asking.request_id))
        self.cookie = SessionCookie(secret)

    def end_session(self) -> None:
        """Take the session's cookie away."""
        self.cookie = SessionCookie(None)

    def _act_as(self, asking: Caller | Visitor) -> None:
        """Load anew, for who asks now."""
        self._asking = asking
        self._cursors = None
        self._drop(*LOADERS)

    def forget(self) -> None:
        """Read anew what a mutation may have changed, where the document asks for it again."""
        self._drop("tokens", "members", "revoking", "applications", "client_secrets", "signers")

    def _drop(self, *loaders: str) -> None:
        for name in loaders:
            self.__dict__.pop(name, None)

    # The loaders, which read each thing once a request and many at a time. Most requests need one or two of them, and
    # each that is made leaves the garbage collector a cycle of a handful of objects.

    @cached_property
    def tokens(self) -> DataLoader[str, TokenView | None]:
        """Tokens by id."""
        return DataLoader(load_fn=self._load_tokens)

    @cached_property
    def members(self) -> DataLoader[str, MemberView | None]:
        """Members by id."""
        return DataLoader(load_fn=self._load_members)

    @cached_property
    def past_tokens(self) -> DataLoader[PastToken, TokenState | None]:
        """Tokens as they were."""
        return DataLoader(load_fn=self._load_past_tokens)

    @cached_property
    def past_views(self) -> DataLoader[tuple[TokenState, int], TokenView]:
        """What was seen of tokens at a position."""
        return DataLoader(load_fn=self._load_past_views)

    @cached_property
    def revoking(self) -> DataLoader[str, bool]:
        """Whether a token's revocation is not known everywhere yet, by its id."""
        return DataLoader(load_fn=self._load_revoking)

    @cached_property
    def actor_names(self) -> DataLoader[Actor, str]:
        """What actors are called."""
        return DataLoader(load_fn=self._load_names)

    @cached_property
    def applications(self) -> DataLoader[str, ApplicationState | None]:
        """Applications by id."""
        return DataLoader(load_fn=self._load_applications)

    @cached_property
    def client_secrets(self) -> DataLoader[str, str | None]:
        """The ids of client secrets by that of their application."""
        return DataLoader(load_fn=self._load_client_secrets)

    @cached_property
    def signers(self) -> DataLoader[int | None, str | None]:
        """The one that signs webhooks, at a position of the history, or now (None)."""
        return DataLoader(load_fn=self._load_signers)

    @cached_property
    def checkpoints(self) -> DataLoader[str, SignedCheckpoint | None]:
        """The newest checkpoint by its organization."""
        return DataLoader(load_fn=self._load_checkpoints)

    @cached_property
    def inclusion_proofs(self) -> DataLoader[Wanted, InclusionProof | None]:
        """Proofs that events are in a checkpoint's tree."""
        return DataLoader(load_fn=self._load_proofs)

    async def _load_tokens(self, ids: list[str]) -> Sequence[TokenView | None]:
        found = await self.services.queries.tokens_by_id(self.caller.principal, ids)
        return [found.get(token_id) for token_id in ids]

    async def _load_members(self, ids: list[str]) -> Sequence[MemberView | None]:
        found = await self.services.queries.members.by_id(self.caller.principal, ids)
        return [found.get(member_id) for member_id in ids]

    async def _load_past_tokens(self, asked: list[PastToken]) -> Sequence[TokenState | None]:
        past, principal = self.services.queries.past, self.caller.principal
        return [await past.state(principal, one, self.leave) for one in asked]

    async def _load_past_views(self, asked: list[tuple[TokenState, int]]) -> Sequence[TokenView]:
        past = self.services.queries.past
        return [await past.view(state, position, self.leave) for state, position in asked]

    async def _load_revoking(self, ids: list[str]) -> Sequence[bool]:
        found = await self.services.queries.revoking(ids)
        return [token_id in found for token_id in ids]

    async def _load_names(self, actors: list[Actor]) -> Sequence[str]:
        names = await self.services.queries.actor_names(self.caller.principal, actors)
        return [names.get(actor.id, actor.id) for actor in actors]

    async def _load_applications(self, ids: list[str]) -> Sequence[ApplicationState | None]:
        found = await self.services.queries.applications.by_id(self.caller.principal, ids)
        return [found.get(application_id) for application_id in ids]

    async def _load_client_secrets(self, applications: list[str]) -> Sequence[str | None]:
        found = await self.services.queries.applications.client_secrets(self.caller.principal, applications)
        return [found.get(application_id) for application_id in applications]

    async def _load_signers(self, positions: list[int | None]) -> Sequence[str | None]:
        queries, principal = self.services.queries, self.caller.principal
        return [
            await queries.signer(principal)
            if position is None
            else await queries.past.signer(principal, position, self.leave)
            for position in positions
        ]

    async def _load_checkpoints(self, organizations: list[str]) -> Sequence[SignedCheckpoint | None]:
        """Load the one checkpoint that the caller may see, once, however often the document asks for it."""
        return [await self.services.proofs.checkpoint(self.caller.principal)] * len(organizations)

    async def _load_proofs(self, wanted: list[Wanted]) -> Sequence[Provable]:
        return await self.services.proofs.inclusions(self.caller.principal, wanted)


class Resolving:
    """What resolvers see of things that are executed together, made when the first of them asks for it."""

    def __init__(self, principal: Principal, services: Services) -> None:
        self._principal = principal
        self._services = services

    @cached_property
    def request_id(self) -> str:
        """Give the id under which errors are told and logged."""
        return uuid4().hex

    @cached_property
    def context(self) -> Context:
        """Give the context, whose loaders read what several of them ask for at once."""
        caller = Caller(principal=self._principal, request_id=self.request_id)
        return Context(caller=caller, services=self._services)


ApiInfo = Info[Context, None]

LOADERS: Final = tuple(name for name, made in vars(Context).items() if isinstance(made, cached_property))
