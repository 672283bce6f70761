"""The protocol `graphql-transport-ws` without I/O: what follows from each message, in each phase."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orjson import dumps, loads

from service.web.transport_ws import (
    ACKNOWLEDGEMENT,
    LONGEST_ID,
    LONGEST_REASON_BYTES,
    Action,
    Authenticate,
    Close,
    Conversation,
    Operation,
    Phase,
    Reply,
    Start,
    Stop,
)

INIT = {"type": "connection_init"}
QUERY = {"query": "{ viewer { scopes } }"}
CANARY = "canary_4f1d"


def say(conversation: Conversation, message: object) -> Action:
    """Send a message as JSON."""
    return conversation.receive(dumps(message).decode())


def ready(most_operations: int = 10) -> Conversation:
    """Make a conversation that is acknowledged."""
    conversation = Conversation(most_operations=most_operations)
    say(conversation, INIT)
    assert conversation.acknowledge() == ACKNOWLEDGEMENT
    return conversation


def subscribe(conversation: Conversation, id_: str = "1") -> Action:
    """Ask for an operation."""
    return say(conversation, {"id": id_, "type": "subscribe", "payload": QUERY})


def started(conversation: Conversation, id_: str = "1") -> Operation:
    """Start an operation."""
    action = subscribe(conversation, id_)
    assert isinstance(action, Start)
    return action.operation


@pytest.mark.parametrize("payload", [None, {}, {"X-API-Key": "k"}])
def test_the_payload_of_the_first_message_is_what_is_authenticated(payload: dict[str, str] | None) -> None:
    """An object, null and nothing are all right."""
    assert say(Conversation(), {**INIT, "payload": payload}) == Authenticate(payload or {})
    assert say(Conversation(), INIT) == Authenticate({})


@pytest.mark.parametrize("is_acknowledged", [False, True])
def test_a_second_initialisation_ends_the_connection(is_acknowledged: bool) -> None:  # noqa: FBT001 -- pytest's way
    """It is 4429 whenever it comes."""
    conversation = Conversation()
    say(conversation, INIT)
    if is_acknowledged:
        conversation.acknowledge()
    assert say(conversation, INIT) == Close(4429, "Too many initialisation requests")


def test_nothing_is_run_before_the_acknowledgement() -> None:
    """A subscribe before it is 4401, on a new connection and on one that is being authenticated."""
    assert subscribe(Conversation()) == Close(4401, "Unauthorized")
    conversation = Conversation()
    say(conversation, INIT)
    assert subscribe(conversation) == Close(4401, "Unauthorized")


def test_only_a_connection_that_was_not_asked_for_expires() -> None:
    """The time is for `connection_init` to come, not for what follows it."""
    assert Conversation().expire() == Close(4408, "Connection initialisation timeout")
    assert ready().expire() is None


@pytest.mark.parametrize("id_", ["1", "é" * 100])
def test_an_id_in_use_ends_the_connection(id_: str) -> None:
    """It is 4409 with the id, where a close frame has room for it."""
    conversation = ready()
    started(conversation, id_)
    told = "Subscriber for 1 already exists" if id_ == "1" else "Subscriber already exists"
    assert subscribe(conversation, id_) == Close(4409, told)


def test_an_id_may_be_used_again_after_its_end() -> None:
    """Whoever ended it; what still runs of the old one then ends nothing of the new one."""
    conversation = ready()
    first = started(conversation)
    assert say(conversation, {"id": "1", "type": "complete"}) == Stop(first)
    second = started(conversation)
    assert not conversation.finish(first)
    assert conversation.finish(second)
    assert isinstance(subscribe(conversation), Start)


def test_a_complete_for_an_unknown_id_is_ignored() -> None:
    """It may have crossed the server's own."""
    assert say(ready(), {"id": "gone", "type": "complete"}) is None


def test_more_than_the_allowed_operations_are_refused_and_the_connection_stays() -> None:
    """An operation counts until nothing of it runs, so that completing early buys nothing."""
    conversation = ready(most_operations=2)
    first = started(conversation, "1")
    started(conversation, "2")
    say(conversation, {"id": "1", "type": "complete"})
    refused = subscribe(conversation, "3")
    assert isinstance(refused, Reply)
    message = loads(refused.message)
    assert (message["id"], message["type"]) == ("3", "error")
    assert message["payload"][0]["extensions"] == {"code": "RATE_LIMITED"}
    conversation.release(first)
    started(conversation, "3")


@pytest.mark.parametrize(
    ("ping", "pong"),
    [
        ({}, {}),
        ({"payload": None}, {}),
        ({"payload": {}}, {"payload": {}}),
        ({"payload": {"a": [1, None]}}, {"payload": {"a": [1, None]}}),
    ],
)
def test_a_ping_is_answered_in_any_phase_with_its_payload(ping: dict[str, object], pong: dict[str, object]) -> None:
    """Also before the connection was asked for."""
    for conversation in (Conversation(), ready()):
        reply = say(conversation, {"type": "ping", **ping})
        assert isinstance(reply, Reply)
        assert loads(reply.message) == {"type": "pong", **pong}


def test_a_pong_that_nobody_asked_for_is_ignored() -> None:
    """It is a client's heartbeat."""
    assert say(Conversation(), {"type": "pong", "payload": {"a": 1}}) is None


def nested(levels: int) -> str:
    """Nest arrays that deep."""
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "text",
    [
        "",
        CANARY,
        "null",
        "[]",
        '"ping"',
        "{}",
        '{"type":1}',
        f'{{"type":"{CANARY}"}}',
        f'{{"type":"ping","payload":"{CANARY}"}}',
        '{"type":"ping","payload":[]}',
        f'{{"type":"ping","payload":{{"a":{nested(500)}}}}}',
        f'{{"type":"ping","payload":{{"a":{nested(5000)}}}}}',
        f'{{"type":"pong","payload":"{CANARY}"}}',
        f'{{"type":"connection_init","payload":"{CANARY}"}}',
        '{"type":"connection_ack"}',
        '{"type":"next","id":"1","payload":{}}',
        '{"type":"error","id":"1","payload":[]}',
        '{"type":"complete"}',
        '{"type":"complete","id":1}',
        '{"type":"subscribe","payload":{"query":"{a}"}}',
        '{"type":"subscribe","id":"","payload":{"query":"{a}"}}',
        f'{{"type":"subscribe","id":"{"i" * (LONGEST_ID + 1)}","payload":{{"query":"{{a}}"}}}}',
        '{"type":"subscribe","id":"1"}',
        f'{{"type":"subscribe","id":"1","payload":"{CANARY}"}}',
        '{"type":"subscribe","id":"1","payload":{}}',
        '{"type":"subscribe","id":"1","payload":{"query":1}}',
        f'{{"type":"subscribe","id":"1","payload":{{"query":"{{a}}","variables":"{CANARY}"}}}}',
        '{"type":"subscribe","id":"1","payload":{"query":"{a}","operationName":1}}',
        '{"type":"subscribe","id":"1","payload":{"query":"{a}","extensions":[]}}',
        '{"type":"start","id":"1","payload":{"query":"{a}"}}',
    ],
    ids=lambda text: text[:40],
)
def test_what_the_protocol_does_not_know_ends_the_connection(text: str) -> None:
    """It is 4400, with a reason that fits a close frame and quotes nothing; whatever comes after it changes nothing."""
    conversation = ready()
    close = conversation.receive(text)
    assert isinstance(close, Close)
    assert close.code == 4400
    assert 0 < len(close.reason.encode()) <= LONGEST_REASON_BYTES
    assert CANARY not in close.reason
    assert subscribe(conversation) is None


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ids = st.sampled_from(["1", "2", "é"])
good = st.one_of(
    st.just(INIT),
    st.just({"type": "ping"}),
    st.fixed_dictionaries({"type": st.just("complete"), "id": ids}),
    st.fixed_dictionaries({"type": st.just("subscribe"), "id": ids, "payload": st.just(QUERY)}),
)
types = st.sampled_from(["connection_init", "connection_ack", "ping", "pong", "subscribe", "complete", "next", "x"])
loose = st.fixed_dictionaries({"type": types | json}, optional={"id": ids | json, "payload": st.just(QUERY) | json})
texts = st.one_of(good.map(dumps), loose.map(dumps), json.map(dumps)).map(bytes.decode) | st.text(max_size=20)
steps = st.lists(st.one_of(texts, st.sampled_from(["*acknowledge", "*expire", "*finish", "*release"])), max_size=40)


@given(steps=steps)
@settings(max_examples=300, deadline=None)
def test_no_sequence_of_messages_breaks_it(steps: list[str]) -> None:
    """Never an exception; the codes are the protocol's, and nothing follows a close; the bounds hold."""
    conversation, running = Conversation(most_operations=2), list[Operation]()
    for step in steps:
        was_closed = conversation.phase is Phase.CLOSED
        action: Action = None
        if step == "*acknowledge" and conversation.phase is Phase.AUTHENTICATING:
            conversation.acknowledge()
        elif step == "*expire":
            action = None if was_closed else conversation.expire()
        elif step == "*finish" and running:
            conversation.finish(running[0])
        elif step == "*release" and running:
            conversation.release(running.pop(0))
        elif not step.startswith("*"):
            action = conversation.receive(step)
        if isinstance(action, Start):
            running.append(action.operation)
        if isinstance(action, Close):
            assert action.code in {4400, 4401, 4408, 4409, 4429}
            assert len(action.reason.encode()) <= LONGEST_REASON_BYTES
        assert action is None or not was_closed
        assert (conversation.phase is Phase.CLOSED) == (was_closed or isinstance(action, Close))
        assert conversation.running == len(running) <= 2
