"""What connections that stay open need, and how long things may take on them."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from service.api.execution import Executor
from service.requests import Requests
from service.sessions import Session
from service.streams import Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How long things may take on a connection that stays open."""

    initialisation_s: float = 3.0
    beat_s: float = 12.0
    """How often a connection on which nothing happens is used: sooner than a proxy closes one, after 30 s or more."""
    silent_beats: int = 2
    """How many beats in a row a WebSocket's client may be silent."""
    closing_s: float = 2.0
    """How long a client may take to read the rest of a connection that is closed."""


RHYTHM: Final = Rhythm()


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """What connections that stay open need."""

    open_session: Callable[[web.Request, str | None], Awaitable[Session]]
    """Of the key that is given, or else of the request's own credential. Raises CredentialError or RefusedError."""
    check_upgrade: Callable[[web.Request], None]
    """Raises CredentialError where a page that is not ours asks for a socket and a session's cookie comes with it."""
    streams: Streams
    executor: Executor
    requests: Requests
    new_request_id: Callable[[], str] = lambda: secrets.token_hex(16)
    message_limit_bytes: int = 262_144
    rhythm: Rhythm = RHYTHM
