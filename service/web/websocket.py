"""GraphQL over WebSocket: a socket of the protocol `graphql-transport-ws`, and the operations on it.

What follows from a message is decided in `service.web.transport_ws`. What is pushed is written to the connection at
once, in one piece, past aiohttp's own way of sending. Must never send anything of a key that is not good any more, but
what a mutation did, nor log what a client sent.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final

import structlog
from aiohttp import WSMsgType, web
from aiohttp.log import ws_logger
from graphql import OperationType
from multidict import CIMultiDict

from service.sessions import Session
from service.web.answers import SERVER
from service.web.credentials import CredentialError, is_presented, presented_key
from service.web.frames import CLOSE, PING, PONG, TEXT, close_frame, frame
from service.web.operations import MUTATIONS, SINGLE_RESULT, Operations
from service.web.outlet import Outlet
from service.web.parameters import RefusedError
from service.web.streaming import Streaming
from service.web.transport_ws import (
    BAD_REQUEST,
    FORBIDDEN,
    GOING_AWAY,
    INTERNAL_ERROR,
    PROTOCOL,
    TRY_AGAIN_LATER,
    UNACCEPTABLE_PROTOCOL,
    UNAUTHORIZED,
    Action,
    Authenticate,
    Close,
    Conversation,
    Phase,
    Reply,
    Start,
    Stop,
)

CODES: Final = {400: BAD_REQUEST, 401: UNAUTHORIZED, 403: FORBIDDEN, 503: TRY_AGAIN_LATER}
MESSAGES_A_TURN: Final = 32
CREDENTIAL_NAMES: Final = frozenset({"x-api-key", "authorization"})

log = structlog.get_logger("service.web")


def is_upgrade(request: web.Request) -> bool:
    """Say whether a request asks for a WebSocket."""
    return request.method == "GET" and request.headers.get("Upgrade", "").strip().lower() == "websocket"


async def answer_upgrade(streaming: Streaming, request: web.Request, headers: Mapping[str, str]) -> web.StreamResponse:
    """Serve a socket until it closes. Raises CredentialError or RefusedError before the upgrade."""
    response = web.WebSocketResponse(
        protocols=(PROTOCOL,),
        compress=False,
        autoping=False,
        autoclose=False,
        max_msg_size=streaming.message_limit_bytes,
        timeout=streaming.rhythm.closing_s,
    )
    response.headers.update({**headers, "Server": SERVER})
    if not response.can_prepare(request):
        raise RefusedError(400, "This is no WebSocket handshake of version 13.", {"Sec-WebSocket-Version": "13"})
    session = None
    if is_presented(request.headers):
        session = await streaming.open_session(request, None)
    else:
        streaming.check_upgrade(request)
    try:
        outlet = Outlet(request, await response.prepare(request))
        await Socket(streaming, request, response, outlet).serve(session)
    except ConnectionError:
        log.debug("client_gone", route="/graphql")
    finally:
        if session is not None:
            session.close()
    return response


class Socket:
    """One WebSocket: what comes in, when it closes, and that it lives."""

    def __init__(
        self, streaming: Streaming, request: web.Request, response: web.WebSocketResponse, outlet: Outlet
    ) -> None:
        self._streaming = streaming
        self._request = request
        self._response = response
        self._outlet = outlet
        self._conversation = Conversation()
        self._operations = Operations(streaming, self._conversation, outlet, on_idle=self._close_if_idle)
        self._tasks = asyncio.TaskGroup()
        self._session: Session | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._is_heard = True
        self._silent_beats = 0
        self._pending: Close | None = None
        """How to close as soon as nobody waits for a result any more."""
        self._is_closed = False

    async def serve(self, session: Session | None) -> None:
        """Serve until it is closed and nothing of it runs any more."""
        with self._streaming.requests.endless(self._leave):
            async with self._tasks:
                try:
                    self._begin(session)
                    await self._listen()
                finally:
                    self._release()
                    self._outlet.close(self._streaming.rhythm.closing_s)

    def _begin(self, session: Session | None) -> None:
        rhythm = self._streaming.rhythm
        self._after(rhythm.initialisation_s, self._expire)
        self._after(rhythm.beat_s, self._beat)
        if session is not None:
            self._adopt(session)
        if self._response.ws_protocol != PROTOCOL:
            self._close(Close(UNACCEPTABLE_PROTOCOL, "Subprotocol not acceptable"))

    async def _listen(self) -> None:
        for number in count(1):
            message = await self._response.receive()
            self._is_heard = True
            match message.type:
                case WSMsgType.TEXT:
                    await self._follow(self._conversation.receive(message.data))
                case WSMsgType.BINARY:
                    self._close(Close(BAD_REQUEST, "Messages must be text."))
                case WSMsgType.PING:
                    await self._reply(frame(PONG, message.data))
                case WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE:
                    self._answer_close(message.data)
                    return
                case _:
                    return
            if number % MESSAGES_A_TURN == 0:
                await asyncio.sleep(0)  # those that came together are read without a pause

    async def _follow(self, action: Action) -> None:
        match action:
            case Close():
                self._close(action)
            case Reply(message):
                await self._reply(frame(TEXT, message))
            case Authenticate(payload):
                await self._authenticate(payload)
            case Start() if self._session is not None:
                self._operations.start(action, self._session, self._tasks)
            case Stop(operation):
                self._operations.stop(operation)
            case _:
                pass

    async def _reply(self, data: bytes) -> None:
        """Answer a message; the next one is not read before the client takes this."""
        if not self._is_closed:
            self._outlet.write(data)
            await self._outlet.wait_ready()

    async def _authenticate(self, payload: Mapping[str, object]) -> None:
        try:
            await self._identify(credentials_of(payload))
        except CredentialError as error:
            self._close(Close(CODES.get(error.status, INTERNAL_ERROR), error.message))
        except Exception:
            log.exception("internal_error", route="/graphql")
            self._close(Close(INTERNAL_ERROR, "Internal error"))
        if self._conversation.phase is Phase.AUTHENTICATING:
            self._outlet.write(frame(TEXT, self._conversation.acknowledge()))

    async def _identify(self, presented: CIMultiDict[str]) -> None:
        if self._session is None:
            key = presented_key(presented) if presented else None  # without one the upgrade's cookie counts
            self._adopt(await self._streaming.open_session(self._request, key))
        elif presented:
            raise CredentialError(400, "Present one credential: in the upgrade's headers or in connection_init.")

    def _adopt(self, session: Session) -> None:
        self._session = session
        session.on_end(self._revoke)
        if self._is_closed:
            session.close()
        elif session.ended.is_set():
            self._revoke(UNAUTHORIZED, "Unauthorized")

    def _revoke(self, code: int, reason: str) -> None:
        self._retire(Close(code, reason), MUTATIONS)

    def _leave(self) -> None:
        if self._pending is None:
            self._retire(Close(GOING_AWAY, "Going away"), SINGLE_RESULT)

    def _retire(self, close: Close, kept: frozenset[OperationType]) -> None:
        """Close as soon as the operations of these kinds are answered; the others end now."""
        if not self._is_closed:
            self._pending = close
            self._conversation.retire()
            self._operations.keep(kept)
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._pending is not None and self._operations.is_idle:
            self._close(self._pending)

    def _expire(self) -> None:
        close = self._conversation.expire()
        if close is not None:
            self._close(close)

    def _beat(self) -> None:
        """See whether the client lives; one that is slow to read cannot be asked before it has read."""
        self._after(self._streaming.rhythm.beat_s, self._beat)
        if not self._outlet.is_ready():
            return
        self._silent_beats = 0 if self._is_heard else self._silent_beats + 1
        self._is_heard = False
        if self._silent_beats >= self._streaming.rhythm.silent_beats:
            self._outlet.abort()
        else:
            self._outlet.write(frame(PING))

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers[call.__name__] = asyncio.get_running_loop().call_later(seconds, call)

    def _close(self, close: Close) -> None:
        """Say that it is over, at once, and wait for no longer than a while until the client agrees."""
        if not self._is_closed:
            self._release()
            self._outlet.write(close_frame(close.code, close.reason))
            self._after(self._streaming.rhythm.closing_s, self._outlet.abort)

    def _answer_close(self, code: int) -> None:
        if not self._is_closed:
            self._release()
            self._outlet.write(close_frame(code) if code else frame(CLOSE))

    def _release(self) -> None:
        """Let go of everything but the connection."""
        self._is_closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._conversation.retire()
        self._operations.keep(frozenset())
        if self._session is not None:
            self._session.close()


def credentials_of(payload: Mapping[str, object]) -> CIMultiDict[str]:
    """Read the credentials in the payload of `connection_init`, as headers. Raises CredentialError."""
    found = CIMultiDict[str]()
    for name, value in payload.items():
        if name.lower() in CREDENTIAL_NAMES:
            if not isinstance(value, str):
                raise CredentialError(400, "A credential must be a string.")
            found.add(name, value)
    return found


def discreet(record: logging.LogRecord) -> bool:
    """Keep aiohttp from logging what it thinks of a handshake: it quotes headers, and a key may be there."""
    return record.levelno > logging.WARNING


ws_logger.addFilter(discreet)
