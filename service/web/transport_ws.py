"""One connection of the protocol `graphql-transport-ws`, the server's side: what follows from each message.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md . Sans-I/O: messages come in, what is to be done goes
out. Must never quote what a client sent when it says what is wrong with it, except an operation's id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import orjson

from service.api.errors import FormattedError, formatted
from service.api.execution import GraphQLRequest
from service.web.parameters import RefusedError, parameters

PROTOCOL: Final = "graphql-transport-ws"
MOST_OPERATIONS: Final = 10
LONGEST_ID: Final = 256
LONGEST_REASON_BYTES: Final = 123
"""What a close frame has room for beside its code (RFC 6455, 5.5)."""

GOING_AWAY: Final = 1001
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013
BAD_REQUEST: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
UNACCEPTABLE_PROTOCOL: Final = 4406
INITIALISATION_TIMEOUT: Final = 4408
OPERATION_EXISTS: Final = 4409
INITIALISED_TWICE: Final = 4429

ACKNOWLEDGEMENT: Final = b'{"type":"connection_ack"}'


class Operation:
    """One operation, from its `subscribe` until nothing of it runs any more; an id may be used again before that."""

    __slots__ = ("id",)

    def __init__(self, id_: str) -> None:
        self.id = id_


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket at once."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Find out who that is, then acknowledge or close."""

    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Start:
    """Run an operation."""

    operation: Operation
    request: GraphQLRequest


@dataclass(frozen=True, slots=True)
class Stop:
    """Send nothing more of an operation."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Reply:
    """Send a message."""

    message: bytes


Action = Close | Authenticate | Start | Stop | Reply | None


class Phase(Enum):
    """How far a connection has come."""

    NEW = auto()
    AUTHENTICATING = auto()
    READY = auto()
    CLOSED = auto()


class InvalidMessageError(Exception):
    """A message that the protocol does not know; says what is wrong and quotes nothing."""


class Conversation:
    """What was said on one socket."""

    def __init__(self, *, most_operations: int = MOST_OPERATIONS) -> None:
        self.phase = Phase.NEW
        self._most_operations = most_operations
        self._live: dict[str, Operation] = {}
        self._held: set[Operation] = set()
        """Those that run: a single result that the client does not want any more is still being worked out."""

    @property
    def running(self) -> int:
        """How many operations run."""
        return len(self._held)

    def receive(self, text: str) -> Action:
        """Take a message, and say what follows."""
        if self.phase is Phase.CLOSED:
            return None
        try:
            message = parsed(text)
            return self._follow(message)
        except InvalidMessageError as error:
            return self.close(BAD_REQUEST, str(error))
        except RefusedError as error:
            return self.close(BAD_REQUEST, error.message)

    def _follow(self, message: Mapping[str, object]) -> Action:
        match message["type"]:
            case "connection_init":
                return self._initialise(optional_object(message, "payload") or {})
            case "ping":
                return Reply(pong(optional_object(message, "payload")))
            case "pong":
                optional_object(message, "payload")
                return None
            case "subscribe":
                return self._subscribe(message)
            case "complete":
                stopped = self._live.pop(id_of(message), None)
                return None if stopped is None else Stop(stopped)
            case "connection_ack" | "next" | "error":
                raise InvalidMessageError("Messages of this type come from the server only.")
            case _:
                raise InvalidMessageError("The type of the message is not one of the protocol.")

    def _initialise(self, payload: Mapping[str, object]) -> Action:
        if self.phase is not Phase.NEW:
            return self.close(INITIALISED_TWICE, "Too many initialisation requests")
        self.phase = Phase.AUTHENTICATING
        return Authenticate(payload)

    def _subscribe(self, message: Mapping[str, object]) -> Action:
        id_, payload = id_of(message), message.get("payload")
        if not isinstance(payload, dict):
            raise InvalidMessageError("The payload of 'subscribe' must be an object.")
        request = parameters(payload)
        if self.phase is not Phase.READY:
            return self.close(UNAUTHORIZED, "Unauthorized")
        if id_ in self._live:
            return self.close(OPERATION_EXISTS, f"Subscriber for {id_} already exists")
        if len(self._held) >= self._most_operations:
            told = f"At most {self._most_operations} operations run on a connection: complete one of them first."
            return Reply(error_message(id_, [formatted("RATE_LIMITED", told)]))
        operation = self._live[id_] = Operation(id_)
        self._held.add(operation)
        return Start(operation, request)

    def acknowledge(self) -> bytes:
        """Let operations begin; answers the message that says so."""
        if self.phase is not Phase.AUTHENTICATING:
            raise RuntimeError("only a connection that was asked for is acknowledged")
        self.phase = Phase.READY
        return ACKNOWLEDGEMENT

    def expire(self) -> Close | None:
        """Close a socket on which no connection was asked for in time."""
        is_late = self.phase is Phase.NEW
        return self.close(INITIALISATION_TIMEOUT, "Connection initialisation timeout") if is_late else None

    def retire(self) -> None:
        """Take no more messages; the operations that are live may still end."""
        self.phase = Phase.CLOSED

    def close(self, code: int, reason: str) -> Close:
        """End, with all operations; a reason that is too long for a close frame is left out."""
        self.phase = Phase.CLOSED
        self._live.clear()
        if len(reason.encode()) > LONGEST_REASON_BYTES:
            reason = "Subscriber already exists" if code == OPERATION_EXISTS else ""
        return Close(code, reason)

    def is_live(self, operation: Operation) -> bool:
        """Say whether the client still waits for an operation."""
        return self._live.get(operation.id) is operation

    def finish(self, operation: Operation) -> bool:
        """End an operation; answers whether the client is to be told."""
        if not self.is_live(operation):
            return False
        del self._live[operation.id]
        return True

    def release(self, operation: Operation) -> None:
        """Make room for another operation: nothing of this one runs any more."""
        self._held.discard(operation)


def parsed(text: str) -> Mapping[str, object]:
    """Read a message that has a type. Raises InvalidMessageError."""
    try:
        message: object = orjson.loads(text)
    except orjson.JSONDecodeError:  # not chained: it carries the whole text
        raise InvalidMessageError("The message must be valid JSON.") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise InvalidMessageError("The message must be an object with a 'type' that is a string.")
    return message


def id_of(message: Mapping[str, object]) -> str:
    """Read the id of the operation that a message is about. Raises InvalidMessageError."""
    id_ = message.get("id")
    if not isinstance(id_, str) or not 1 <= len(id_) <= LONGEST_ID:
        raise InvalidMessageError(f"The 'id' must be a string of 1 to {LONGEST_ID} characters.")
    return id_


def optional_object(message: Mapping[str, object], name: str) -> Mapping[str, object] | None:
    """Read a field that may be left out or null. Raises InvalidMessageError."""
    value = message.get(name)
    if not isinstance(value, dict | None):
        raise InvalidMessageError(f"The '{name}' must be an object or null.")
    return value


def pong(payload: Mapping[str, object] | None) -> bytes:
    """Answer a ping with what came with it. Raises InvalidMessageError."""
    try:
        return orjson.dumps({"type": "pong"} if payload is None else {"type": "pong", "payload": payload})
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        raise InvalidMessageError("The payload of 'ping' is nested too deeply.") from None


def next_head(id_: str) -> bytes:
    """Write what stands before an operation's result; after it comes the brace that closes the message."""
    return b'{"id":' + orjson.dumps(id_) + b',"type":"next","payload":'


def complete_message(id_: str) -> bytes:
    """Say that an operation has no more results."""
    return orjson.dumps({"id": id_, "type": "complete"})


def error_message(id_: str, errors: Sequence[FormattedError]) -> bytes:
    """Say why an operation ends."""
    return orjson.dumps({"id": id_, "type": "error", "payload": errors})
