"""Streams: replay and what comes after it are one, whoever is slow, and end with the key."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from events.merkle import verify_inclusion
from events.refusals import Refused
from events.token_kinds import TokenKind
from events.tokens import CreateToken
from service.api.errors import FormattedError
from service.api.execution import Execution, GraphQLRequest
from service.authorization import operator
from service.sessions import Session, presented_to
from service.streams import Stream
from tests.api.conftest import PATIENCE_S, Issued, Json, Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
FOLLOW = "subscription ($from: String) { events(afterPosition: $from) { cursor node { position type subjectId } } }"
PROVED = (
    'subscription { events(afterPosition: "0") '
    "{ node { position leafHash inclusionProof { leafIndex treeSize rootHash hashes } } } }"
)
TYPES = 'subscription ($types: [String!]) { events(afterPosition: "0", filter: {types: $types}) { node { type } } }'


ARCHIVED = """
    with part as (
        insert into archived_usage (
            from_position, to_position, events, last_recorded_at, file, file_bytes, file_sha256, detached_table)
        values (-3, -2, 1, '-infinity', 'file', 0, sha256(''), 'table')
        returning from_position)
    insert into archived_organizations (organization, from_position, first_position, last_position, events)
    select $1, from_position, 1, 1, 1 from part
"""
"""A record of an archive that holds the first position of an organization."""


class Collected:
    """A client that keeps what it is sent, as long as it takes anything."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.errors: list[FormattedError] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.came = asyncio.Event()

    def is_ready(self) -> bool:
        """Say whether it takes anything."""
        return self.takes.is_set()

    async def wait_ready(self) -> None:
        """Wait until it does."""
        await self.takes.wait()

    def push(self, *payloads: bytes) -> None:
        """Keep them."""
        self.payloads.extend(payloads)
        self.came.set()

    def finish(self, errors: Sequence[FormattedError] | None) -> None:
        """Keep what it ended by."""
        self.errors.extend(errors or ())
        self.came.set()

    async def until(self, count: int) -> list[Json]:
        """Wait for that many results."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.payloads) < count and not self.errors:
                self.came.clear()
                await self.came.wait()
        return [orjson.loads(payload) for payload in self.payloads]

    async def positions(self, count: int) -> list[int]:
        """Wait for that many events, and list their positions."""
        return [int(result["data"]["events"]["node"]["position"]) for result in await self.until(count)]


async def session_of(service: Service, token: Issued) -> Session:
    """Open a session of a key."""
    verified = await service.entrances.services.verifier.verify(token.key)
    assert verified.credential is not None
    verifying = service.entrances.verifying
    return verifying.sessions.open(presented_to(verifying.verifier, token.key), verified.credential)


async def subscribed(service: Service, session: Session, sink: Collected, query: str, **variables: object) -> Stream:
    """Subscribe."""
    request = GraphQLRequest(query=query, variables=variables)
    stream = await service.entrances.streams.subscribe(session, request, sink, request_id="r")
    assert not isinstance(stream, Execution), stream.errors
    return stream


async def test_replay_goes_over_into_what_comes(service: Service) -> None:
    """Events before and after the subscription come once each, in order."""
    reader = await service.token("events:read", "tokens:read")
    for _ in range(40):
        await service.token("a:b", organization=reader.organization)
    session, sink = await session_of(service, reader), Collected()
    stream = await subscribed(service, session, sink, FOLLOW, **{"from": "0"})
    await asyncio.gather(*(service.token("a:b", organization=reader.organization) for _ in range(40)))
    assert await sink.positions(82) == list(range(1, 83))
    stream.cancel()
    session.close()


async def test_what_is_followed_comes_with_its_proof(service: Service) -> None:
    """Events that were there and events that come are proved in a checkpoint's tree, signed for them if need be."""
    reader = await service.token("events:read")
    session, sink = await session_of(service, reader), Collected()
    stream = await subscribed(service, session, sink, PROVED)
    await sink.until(2)
    await service.token("a:b", organization=reader.organization)
    for result in await sink.until(3):
        node = result["data"]["events"]["node"]
        proof = node["inclusionProof"]
        hashes = [bytes.fromhex(one) for one in (node["leafHash"], proof["rootHash"], *proof["hashes"])]
        index, size = int(proof["leafIndex"]), int(proof["treeSize"])
        assert index + 1 == int(node["position"])
        assert verify_inclusion(hashes[0], index, size, hashes[2:], hashes[1])
    stream.cancel()
    session.close()


async def test_who_asks_the_same_is_a_group_wherever_they_begin(service: Service) -> None:
    """Each event that comes is written once for all who ask the same, and they all get it."""
    reader = await service.token("events:read")
    session = await session_of(service, reader)
    sinks = [Collected() for _ in range(20)]
    begins = [None, "0", "1", "2"] * 5
    streams = [
        await subscribed(service, session, sink, FOLLOW, **({} if begin is None else {"from": begin}))
        for sink, begin in zip(sinks, begins, strict=True)
    ]
    for sink, begin in zip(sinks, begins, strict=True):
        await sink.until(2 - int(begin or 2))
    assert len(service.entrances.streams._groups) == 1
    await service.token("a:b", organization=reader.organization)
    for sink in sinks:
        async with asyncio.timeout(PATIENCE_S):
            while not sink.payloads or b'"position":"3"' not in sink.payloads[-1]:
                sink.came.clear()
                await sink.came.wait()
    assert len({id(sink.payloads[-1]) for sink in sinks}) <= 2
    for stream in streams:
        stream.cancel()
    assert not service.entrances.streams._groups
    assert not service.entrances.streams.running
    session.close()


async def test_who_takes_nothing_misses_nothing_and_holds_up_nobody(service: Service) -> None:
    """A client that stops taking is left alone until it takes again; then it gets all it has not seen, in order."""
    reader = await service.token("events:read")
    session, slow, quick = await session_of(service, reader), Collected(), Collected()
    streams = [await subscribed(service, session, sink, FOLLOW, **{"from": "0"}) for sink in (slow, quick)]
    await slow.until(2)
    await quick.until(2)
    slow.takes.clear()
    for _ in range(30):
        await service.token("a:b", organization=reader.organization)
    assert await quick.positions(32) == list(range(1, 33))
    assert len(slow.payloads) == 2
    slow.takes.set()
    assert await slow.positions(32) == list(range(1, 33))
    for stream in streams:
        stream.cancel()
    session.close()


@pytest.mark.parametrize("wrong", ["Nonsense", "TokenUsed"])
async def test_a_filter_lets_through_what_it_names(service: Service, wrong: str) -> None:
    """Only events of the types asked for come, from the past and as they happen."""
    reader = await service.token("events:read")
    session, sink = await session_of(service, reader), Collected()
    stream = await subscribed(service, session, sink, TYPES, types=["TokenCreated", wrong])
    await service.token("a:b", organization=reader.organization)
    assert [result["data"]["events"]["node"] for result in await sink.until(2)] == [{"type": "TokenCreated"}] * 2
    stream.cancel()
    session.close()


async def test_a_revoked_key_ends_its_session_before_the_revocation_is_answered(service: Service) -> None:
    """When `revokeToken` has answered, the session is ended with 4401 and nothing was sent since."""
    admin = await service.token("*:*")
    reader = await service.token("events:read", organization=admin.organization)
    session, sink = await session_of(service, reader), Collected()
    ends: list[tuple[int, str]] = []
    session.on_end(lambda code, reason: ends.append((code, reason)))
    stream = await subscribed(service, session, sink, FOLLOW)
    answer = await service.gql(
        admin.key, "mutation ($id: ID!) { revokeToken(input: {id: $id}) { token { status } } }", {"id": reader.id}
    )
    assert answer.data["revokeToken"]["token"]["status"] == "REVOKED"
    assert ends == [(4401, "Unauthorized")]
    assert not await session.confirmed()
    assert all(b"TokenRevoked" not in payload for payload in sink.payloads)
    stream.cancel()


async def test_a_key_that_expires_ends_its_session(service: Service) -> None:
    """An idle session is ended with 4401 when its token expires, with nobody asking."""
    organization = await service.organization()
    expires_at = datetime.now(UTC) + timedelta(seconds=1)
    command = CreateToken(
        token_id="", kind=TokenKind.API_TOKEN, name="n", hint="", scopes=("events:read",), expires_at=expires_at
    )
    done = await service.entrances.core.commands.create(operator(organization), command)
    assert not isinstance(done, Refused)
    assert done.secret is not None
    session = await session_of(service, Issued(id=done.token_id, key=done.secret.reveal(), organization=organization))
    stream = await subscribed(service, session, Collected(), FOLLOW)
    async with asyncio.timeout(PATIENCE_S):
        await session.ended.wait()
    assert datetime.now(UTC) >= expires_at
    stream.cancel()


async def test_a_narrowed_key_loses_the_stream_and_not_the_session(service: Service) -> None:
    """A token that may not read events any more is told so on its streams; its session goes on."""
    admin = await service.token("*:*")
    reader = await service.token("events:read", "tokens:read", organization=admin.organization)
    session, sink = await session_of(service, reader), Collected()
    await subscribed(service, session, sink, FOLLOW)
    narrowed = 'mutation ($id: ID!) { updateToken(input: {id: $id, scopes: ["tokens:read"]}) { token { id } } }'
    assert (await service.gql(admin.key, narrowed, {"id": reader.id})).data["updateToken"]["token"]
    await sink.until(1_000)
    assert [error["extensions"]["code"] for error in sink.errors] == ["FORBIDDEN"]
    assert await session.confirmed()
    session.close()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ('afterPosition: "99999"', "BAD_USER_INPUT"),
        ('afterPosition: "-1"', "BAD_USER_INPUT"),
        ('after: "x"', "INVALID_CURSOR"),
        ('after: "x", afterPosition: "1"', "BAD_USER_INPUT"),
        ("filter: {types: null}", "BAD_USER_INPUT"),
    ],
)
async def test_a_place_that_cannot_be_begun_at_is_said(service: Service, arguments: str, code: str) -> None:
    """Each is an error with its code, at once or as the stream's end."""
    reader = await service.token("events:read")
    session, sink = await session_of(service, reader), Collected()
    request = GraphQLRequest(query=f"subscription {{ events({arguments}) {{ cursor }} }}", variables={})
    opened = await service.entrances.streams.subscribe(session, request, sink, request_id="r")
    if isinstance(opened, Stream):
        await sink.until(1)
    errors = sink.errors if isinstance(opened, Stream) else opened.errors
    assert [error["extensions"]["code"] for error in errors] == [code]
    session.close()


async def test_a_replay_says_that_what_it_would_begin_with_is_archived(service: Service) -> None:
    """From before archived uses a stream ends with CURSOR_EXPIRED; from after them, or for decisions, it goes on."""
    reader = await service.token("events:read")
    await service.sql(ARCHIVED, reader.organization)
    session, sinks = await session_of(service, reader), [Collected() for _ in range(3)]
    await subscribed(service, session, sinks[0], FOLLOW, **{"from": "0"})
    await sinks[0].until(1)
    assert [error["extensions"]["code"] for error in sinks[0].errors] == ["CURSOR_EXPIRED"]
    streams = [
        await subscribed(service, session, sinks[1], FOLLOW, **{"from": "1"}),
        await subscribed(service, session, sinks[2], TYPES, types=["TokenCreated"]),
    ]
    assert [await sinks[1].positions(1), len(await sinks[2].until(1))] == [[2], 1]
    for stream in streams:
        stream.cancel()
    session.close()


async def test_only_who_may_read_events_follows_them(service: Service) -> None:
    """Without events:read a subscription is refused."""
    session = await session_of(service, await service.token("tokens:read"))
    request = GraphQLRequest(query=FOLLOW, variables={})
    opened = await service.entrances.streams.subscribe(session, request, Collected(), request_id="r")
    assert isinstance(opened, Execution)
    assert [error["extensions"]["code"] for error in opened.errors] == ["FORBIDDEN"]
    session.close()


async def test_a_stream_that_is_restarted_while_it_begins_goes_on(service: Service) -> None:
    """The key may change at any moment, also before the reader of the log is in place."""
    reader = await service.token("events:read")
    session, sink = await session_of(service, reader), Collected()
    stream = await subscribed(service, session, sink, FOLLOW, **{"from": "0"})

    async def has_entered() -> bool:
        return stream._group is not None

    assert await eventually(has_entered)
    stream.restart()
    assert await sink.positions(2) == [1, 2]
    stream.cancel()
    session.close()
