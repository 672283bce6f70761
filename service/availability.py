"""Which errors mean "not now, try again": the database is away or too much is queued. Must never include a defect."""

from typing import Final

import asyncpg

from events.writer import LogUnavailableError, OutcomeUnknownError
from service.credential_reader import ReadingUnavailableError
from service.enforcement import NotEnforcedError
from service.hashing import HashingOverloadError
from service.pacing import DenialsOverloadError
from service.vault import KeysBehindError

UNAVAILABLE: Final[tuple[type[Exception], ...]] = (
    LogUnavailableError,
    OutcomeUnknownError,
    HashingOverloadError,
    ReadingUnavailableError,
    NotEnforcedError,
    DenialsOverloadError,
    KeysBehindError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a use meets that finds its connection in the middle of being ended
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    OSError,  # a connection, a host's name, the server's Unix socket while it is down; time-outs are among them
)
RETRY_AFTER_S: Final = 1
LONGEST_VERIFICATION_S: Final = 0.9
"""Of what is not remembered: more than the database\'s limit, for the hash after it, and less than the second that a
gateway waits."""


def is_unavailable(error: BaseException) -> bool:
    """Say whether trying again in a moment may help."""
    return isinstance(error, UNAVAILABLE)
