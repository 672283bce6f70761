"""The watchdog of the embedded PostgreSQL: starts it again when it died. Must never decide so without the lock.

Nobody else would: the service that started it is not its parent, and the others only joined it.
"""

import asyncio
import socket
from pathlib import Path
from typing import Final

import structlog

from service.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError

CHECK_EVERY_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0

log = structlog.get_logger(__name__)


async def keep_running(postgres: EmbeddedPostgres) -> None:
    """Look every second whether the server listens, and start it where it does not, until cancelled."""
    pause_s = CHECK_EVERY_S
    while True:
        await asyncio.sleep(pause_s)
        if listens(postgres.socket_path):
            pause_s = CHECK_EVERY_S
            continue
        try:
            if await asyncio.to_thread(postgres.ensure_running):
                log.warning("embedded_postgres_restarted")
        except EmbeddedPostgresError as error:
            log.error("embedded_postgres_is_down", error=str(error))  # noqa: TRY400 -- it says all there is to say
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def listens(path: Path) -> bool:
    """Say whether somebody listens on a Unix socket; the kernel closes it with its process, however that ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:  # too busy to take us at once, which the dead are not
            return True
    return True
