"""The writer's queue: what shares a batch, what waits, and what callers are told while nothing is sent."""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.batch import MOST_EVENTS_IN_BATCH, WORTH_HALVING, Append, Pending, first_share, lay_out, take_batch
from events.entry import NewEvent, new_event
from events.envelope import SYSTEM, Circumstances, StreamId, Version
from events.statement import Connection
from events.tokens import TokenRevoked
from events.writer import MOST_COMMANDS_QUEUED, LogUnavailableError, LogWriter

WHEN = Circumstances(organization="org_1", actor=SYSTEM, at=datetime(2026, 1, 1, tzinfo=UTC))
numbers = count(1)


def event(stream: str, version: int | None, event_id: str | None = None) -> NewEvent:
    """Write an event for a place."""
    placed = (StreamId(stream), None if version is None else Version(version))
    revoked = TokenRevoked(token_id="tok_1", reason=None)
    return new_event(revoked, WHEN, event_id=event_id or f"evt_{next(numbers)}", placed=placed, random_bytes=bytes)


def acts(written: NewEvent, acting: str | None) -> NewEvent:
    """Let a token act, where one does."""
    return written if acting is None else written._replace(actor=acting)


def decided(
    stream: str,
    *,
    event_id: str | None = None,
    acting: str | None = None,
    restricts: frozenset[str] = frozenset(),
    events: int = 1,
) -> Append:
    """Make a command on a stream."""
    return Append(
        events=tuple(acts(event(stream, n + 1, event_id if n == 0 else None), acting) for n in range(events)),
        expected=(StreamId(stream), Version(0)),
        acting=acting,
        restricts=restricts,
    )


def observed(event_id: str | None = None) -> Append:
    """Make what has no expected version."""
    return Append(events=(event("usage-tok_1", None, event_id),), expected=None)


def queued(*appends: Append) -> deque[Pending]:
    """Queue appends, as if callers waited for each."""
    loop = asyncio.get_running_loop()
    return deque(Pending(append, loop.create_future(), loop.time() + 10) for append in appends)


def batches(queue: deque[Pending]) -> list[list[Append]]:
    """Take batches until nothing is queued."""
    taken = []
    while queue:
        taken.append([pending.append for pending in take_batch(queue)])
    return taken


async def test_streams_of_their_own_share_a_batch() -> None:
    """Commands that have nothing to do with each other go together, in their order."""
    appends = [decided("a"), decided("b"), observed(), observed()]
    assert batches(queued(*appends)) == [appends]


async def test_a_batch_holds_one_command_of_a_stream() -> None:
    """The second of a stream waits, and others behind it do not wait with it."""
    first, second, third, other = decided("a"), decided("a"), decided("a"), decided("b")
    assert batches(queued(first, second, third, other)) == [[first, other], [second], [third]]


async def test_a_batch_holds_one_command_of_an_event_id() -> None:
    """A command sent twice waits for the answer to the first, whether it was decided or observed."""
    first, again = decided("a", event_id="evt_x"), decided("b", event_id="evt_x")
    assert batches(queued(first, again)) == [[first], [again]]
    seen, seen_again = observed("evt_y"), observed("evt_y")
    assert batches(queued(seen, seen_again)) == [[seen], [seen_again]]


async def test_whom_an_earlier_command_restricts_waits() -> None:
    """What a principal does after its authority was cut is checked after that; what it did before is not held up."""
    before, cut, after = decided("a", acting="t"), decided("t", restricts=frozenset({"t"})), decided("b", acting="t")
    unrelated = decided("c", acting="u")
    assert batches(queued(before, cut, after, unrelated)) == [[before, cut, unrelated], [after]]


async def test_whom_a_waiting_command_restricts_waits_too() -> None:
    """A restriction that is itself held back is not overtaken by what it restricts."""
    first, cut = decided("t"), decided("t", restricts=frozenset({"t"}))
    after = decided("b", acting="t")
    assert batches(queued(first, cut, after)) == [[first], [cut], [after]]


async def test_a_principal_may_restrict_itself() -> None:
    """A token that revokes itself acts and restricts in one command."""
    suicide = decided("t", acting="t", restricts=frozenset({"t"}))
    assert batches(queued(suicide)) == [[suicide]]


async def test_a_batch_is_bounded_by_its_events() -> None:
    """A batch ends when it holds enough events, however many commands they are of."""
    small = [decided(f"s{number}") for number in range(MOST_EVENTS_IN_BATCH + 1)]
    assert [len(batch) for batch in batches(queued(*small))] == [MOST_EVENTS_IN_BATCH, 1]
    large = [decided(f"l{number}", events=MOST_EVENTS_IN_BATCH) for number in range(2)]
    assert [len(batch) for batch in batches(queued(*large))] == [1, 1]


async def test_many_who_come_at_once_go_in_halves() -> None:
    """A few are sent together; of many, one half is sent and the other gets its turn while that one commits."""
    assert [first_share(queued) for queued in (1, 2, WORTH_HALVING - 1)] == [1, 2, WORTH_HALVING - 1]
    queue = queued(*(decided(f"s{number}") for number in range(WORTH_HALVING + 1)))
    first = take_batch(queue, first_share(len(queue)))
    assert (len(first), len(take_batch(queue))) == (WORTH_HALVING // 2 + 1, WORTH_HALVING // 2)


async def test_what_nobody_waits_for_is_not_sent() -> None:
    """A command whose caller has gone holds nobody back either."""
    queue = queued(decided("a"), decided("a"))
    queue[0].answer.cancel()
    last = queue[1].append
    assert batches(queue) == [[last]]


COMMANDS = st.tuples(st.sampled_from("abc"), st.sampled_from("wxyz"), st.sampled_from([None, "a", "b"]), st.booleans())


def related(one: Append, other: Append) -> bool:
    """Say whether one must come before another that was queued behind it."""
    return (
        one.events[0].event_id == other.events[0].event_id
        or (one.expected is not None and other.expected is not None and one.expected[0] == other.expected[0])
        or other.acting in one.restricts
    )


def assert_separated(taken: Sequence[Sequence[Append]], order: Sequence[Append]) -> None:
    """Check that everything came once, and what is related in different batches, in its order."""
    place = {id(append): number for number, batch in enumerate(taken) for append in batch}
    assert len(place) == len(order) == sum(len(batch) for batch in taken)
    for later, append in enumerate(order):
        for earlier in order[:later]:
            assert not related(earlier, append) or place[id(earlier)] < place[id(append)]


@settings(max_examples=40)
@given(st.lists(COMMANDS, max_size=12))
async def test_what_is_related_is_never_mixed_up(drawn: list[tuple[str, str, str | None, bool]]) -> None:
    """Whatever is queued is sent once, and what depends on an earlier command in a later batch."""
    appends = [
        decided(stream, event_id=f"evt_{event_id}", acting=acting, restricts=frozenset({stream} if restricts else ()))
        for stream, event_id, acting, restricts in drawn
    ]
    taken = batches(queued(*appends))
    assert all(taken)
    assert_separated(taken, appends)


async def test_a_batch_is_laid_out_in_order() -> None:
    """Each event knows its place, its organization's and its command; each companion row knows its command."""
    one = Append(
        events=(event("a", 3, "evt_1"), event("a", 4, "evt_2")),
        expected=(StreamId("a"), Version(2)),
        acting="tok_9",
        companions={"tokens": [{"id": "tok_1"}]},
    )
    elsewhere = event("usage-x", None, "evt_3")._replace(organization="org_2")
    other = Append(events=(elsewhere,), expected=None, companions={"tokens": [{"id": "tok_2"}]})
    layout = lay_out([one, other])
    events, acting, organizations, counts, names, rows, commands = layout.arguments
    assert isinstance(events, list)
    assert [placed[0] for placed in events] == ["evt_1", "evt_2", "evt_3"]
    assert [placed[10:] for placed in events] == [
        (1, True, "tok_9", 1, 1, 1),
        (1, False, "tok_9", 2, 1, 2),
        (2, True, None, 3, 2, 1),
    ]
    assert (acting, organizations, counts) == (["tok_9"], ["org_1", "org_2"], [2, 1])
    assert (names, rows, commands) == (["tokens"], ['[{"id":"tok_1"},{"id":"tok_2"}]'], ["{1,2}"])
    assert layout.last_places == [(2, 1, 2), (3, 2, 1)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((), ("a", 0)),
        ((("a", 2),), ("a", 0)),
        ((("a", 1), ("a", 1)), ("a", 0)),
        ((("a", 1), ("a", 3)), ("a", 0)),
        ((("b", 1),), ("a", 0)),
        ((("a", None),), ("a", 0)),
        ((("a", 1),), None),
    ],
)
def test_events_follow_the_expected_version(
    events: tuple[tuple[str, int | None], ...], expected: tuple[str, int] | None
) -> None:
    """Nothing that could collide within the log, or leave a hole in a stream, is ever queued."""
    with pytest.raises(ValueError, match=r"at least one event|is not placed where it is expected"):
        Append(
            events=tuple(event(stream, version) for stream, version in events),
            expected=None if expected is None else (StreamId(expected[0]), Version(expected[1])),
        )


async def nowhere() -> Connection:
    """Refuse to connect."""
    raise ConnectionRefusedError


def idle_writer() -> LogWriter:
    """Make a writer that was never started: what is queued stays so."""
    return LogWriter(nowhere)


async def test_the_queue_is_bounded() -> None:
    """Who comes when it is full is told so at once, and adds nothing."""
    writer = idle_writer()
    (pending,) = queued(decided("a"))
    writer._queue.extend([pending] * MOST_COMMANDS_QUEUED)
    with pytest.raises(LogUnavailableError, match="takes no more"):
        await writer.append(decided("b"))
    assert writer.counts.queued == MOST_COMMANDS_QUEUED


async def test_what_was_not_taken_in_time_was_not_appended() -> None:
    """A deadline that passes in the queue takes the command out of it, and says that nothing was appended."""
    writer = idle_writer()
    with pytest.raises(LogUnavailableError, match="did not take the command in time"):
        await writer.append(decided("a"), deadline_s=0.01)
    assert writer.counts.queued == 0


async def test_a_caller_that_gives_up_leaves_nothing_to_send() -> None:
    """A cancelled caller's command is dropped from the queue when its turn comes."""
    writer = idle_writer()
    caller = asyncio.create_task(writer.append(decided("a")))
    await asyncio.sleep(0)  # the caller's turn
    assert writer.counts.queued == 1
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert take_batch(writer._queue) == []


async def test_a_writer_without_a_database_does_not_start() -> None:
    """That the database cannot be reached is known when the service starts."""
    with pytest.raises(ConnectionRefusedError):
        async with idle_writer():
            raise AssertionError("it started")
