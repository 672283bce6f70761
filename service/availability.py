"""Which errors mean "not now, try again": the database is away or too much is queued. Must never include a defect."""

from typing import Final

import asyncpg

from events.writer import LogUnavailableError, OutcomeUnknownError
from service.hashing import HashingOverloadError

UNAVAILABLE: Final[tuple[type[Exception], ...]] = (
    LogUnavailableError,
    OutcomeUnknownError,
    HashingOverloadError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    ConnectionError,
    FileNotFoundError,  # the server's Unix socket, while it is down
    TimeoutError,
)
RETRY_AFTER_S: Final = 1


def is_unavailable(error: BaseException) -> bool:
    """Say whether trying again in a moment may help."""
    return isinstance(error, UNAVAILABLE)
