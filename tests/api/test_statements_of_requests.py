"""What a request costs the database: each thing is read once, many at a time, and nothing that was not selected."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery

from events.statement import Connection
from service.api.context import Context
from service.api.execution import Executor, GraphQLRequest, Way
from service.api.limits import Limits
from service.api.schema import make_schema
from service.authorization import Caller, token_principal
from service.log_proofs import LogProofs
from service.queries import Queries
from service.signing import Signer
from service.tree_proofs import TreeProofs
from tests.api.conftest import Issued, Service

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def listened(service: Service, said: list[str]) -> AsyncIterator[Queries]:
    """Give queries on a pool that tells each statement's first words."""

    def note(query: LoggedQuery) -> None:
        if query.query.startswith("--"):  # ours; the driver's own have no header
            said.append(query.query.partition("\n")[0])

    async def listen(connection: Connection) -> None:
        connection.add_query_logger(note)

    dsn = service.owner_dsn.replace("entri_owner", "entri_service")
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2, init=listen) as pool:
        yield Queries(pool=pool, catch_up=service.entrances.catch_up)


async def statements(service: Service, by: Issued, query: str) -> list[str]:
    """Run a query and list the statements that it needed."""
    said: list[str] = []
    async with listened(service, said) as queries:
        signer = Signer(queries.pool, service.entrances.core.signer.key, service.entrances.core.installation)
        proofs = LogProofs(trees=TreeProofs(pool=queries.pool, signer=signer))
        services = replace(service.entrances.services, queries=queries, proofs=proofs)
        principal = token_principal(by.id, by.organization, ("*:*",))
        context = Context(caller=Caller(principal=principal), services=services)
        request = GraphQLRequest(query=query, variables={})
        answer = await Executor(make_schema(), Limits()).execute(request, context=context, request_id="r", way=Way.GET)
    assert answer.errors == ()
    return said


async def test_tokens_are_counted_only_when_that_is_selected(service: Service) -> None:
    """A page without `totalCount` is one statement."""
    admin = await service.token("*:*")
    [page] = await statements(service, admin, "{ tokens { nodes { id status overlap { endsAt } } } }")
    both = await statements(service, admin, "{ tokens { nodes { id } totalCount } }")
    assert both[0] == page
    assert both[1].startswith("-- Count an organization's tokens")
    assert len(both) == 2


async def test_what_many_nodes_need_is_read_at_once(service: Service) -> None:
    """Tokens of events, and names of who acted, cost one statement each, however many nodes ask."""
    admin = await service.token("*:*")
    for number in range(5):
        await service.token(organization=admin.organization, name=f"{number}")
    fields = "actor { displayName } ... on TokenEvent { token { id name createdBy { displayName } } }"
    said = await statements(service, admin, f"{{ events {{ nodes {{ {fields} }} }} }}")
    assert len(said) <= 4, said
    assert sum("find" in statement.lower() for statement in said) <= 3, said


async def test_a_page_of_proofs_costs_as_much_as_one(service: Service) -> None:
    """However many events are proved, in however many trees: how far the tree is, and the tiles, once it is signed."""
    admin = await service.token("*:*")
    for number in range(5):
        await service.token(organization=admin.organization, name=f"{number}")
    await service.gql(admin.key, "{ logCheckpoint { position } }")
    proof = "{ leafIndex treeSize rootHash hashes checkpoint { position rootHash text signedAt } }"
    asked = f'inclusionProof {proof} own: inclusionProof(size: "6") {proof}'
    one = await statements(service, admin, f"{{ events(first: 1, order: OLDEST_FIRST) {{ nodes {{ {asked} }} }} }}")
    page = f'{{ events(first: 100, filter: {{ types: ["TokenCreated"] }}) {{ nodes {{ leafHash {asked} }} }} }}'
    many = await statements(service, admin, page)
    assert len(one) == 3, one
    assert len(many) == 3, many
