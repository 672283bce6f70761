"""What every resolver gets to see: the caller, the services, and the loaders of this request. Must never outlive it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from uuid import uuid4

from strawberry.dataloader import DataLoader
from strawberry.types import Info

from events.envelope import Actor
from events.log import Installation
from events.tokens import TokenState
from projections.past import Leave
from projections.tokens import TokenView
from service.authorization import Caller, Principal
from service.cursors import Cursors
from service.log_proofs import LogProofs
from service.member_commands import MemberCommands
from service.queries import Queries
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
    verifier: Verifier
    usage: UsageRecorder
    installation: Installation


@dataclass(slots=True, kw_only=True)
class Context:
    """One request."""

    caller: Caller
    services: Services
    cursors: Cursors = field(init=False)
    tokens: DataLoader[str, TokenView | None] = field(init=False)
    past_tokens: DataLoader[PastToken, TokenState | None] = field(init=False)
    past_views: DataLoader[tuple[TokenState, int], TokenView] = field(init=False)
    revoking: DataLoader[str, bool] = field(init=False)
    actor_names: DataLoader[Actor, str] = field(init=False)
    leave: Leave = field(default_factory=lambda: Leave(MOST_FOLDED))
    checkpoints: DataLoader[str, SignedCheckpoint | None] = field(init=False)
    inclusion_proofs: DataLoader[Wanted, InclusionProof | None] = field(init=False)

    def __post_init__(self) -> None:
        """Make the loaders, which read each thing once a request and many at a time."""
        organization = self.caller.principal.organization
        self.cursors = Cursors(installation=self.services.installation, organization=organization)
        self.tokens = DataLoader(load_fn=self._load_tokens)
        self.past_tokens = DataLoader(load_fn=self._load_past_tokens)
        self.past_views = DataLoader(load_fn=self._load_past_views)
        self.revoking = DataLoader(load_fn=self._load_revoking)
        self.actor_names = DataLoader(load_fn=self._load_names)
        self.checkpoints = DataLoader(load_fn=self._load_checkpoints)
        self.inclusion_proofs = DataLoader(load_fn=self._load_proofs)

    async def _load_tokens(self, ids: list[str]) -> Sequence[TokenView | None]:
        found = await self.services.queries.tokens_by_id(self.caller.principal, ids)
        return [found.get(token_id) for token_id in ids]

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
