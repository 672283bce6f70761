"""The first start: on an empty log, one organization and one token that may do everything. Must never do so twice.

The ids follow from the installation, so of two processes that start together one makes them and the other finds them.
"""

import os
from pathlib import Path
from typing import Final

from events.identifiers import derived_id
from events.log import Installation, read_head
from events.refusals import Refused
from events.scopes import EVERYTHING
from events.statement import Pool
from events.tokens import CreateToken, TokenKind
from service.authorization import operator
from service.organization_commands import OrganizationCommands
from service.secret_text import SecretText
from service.token_commands import TokenCommands

FIRST_ORGANIZATION: Final = "Default"
FIRST_TOKEN: Final = "bootstrap"  # noqa: S105 -- the name of a token


class BootstrapError(Exception):
    """The first token could not be handed over, so none was made."""


async def bootstrap(
    pool: Pool, installation: Installation, organizations: OrganizationCommands, commands: TokenCommands
) -> SecretText | None:
    """Make the first organization and token when the log is empty; answers the token's secret once, else None."""
    if await read_head(pool) > 1:  # 1: a first start that was cut short between the two
        return None
    organization_id = derived_id("org", installation.id, "first")
    event_id = derived_id("evt", installation.id, "first organization")
    await organizations.create(FIRST_ORGANIZATION, organization_id=organization_id, event_id=event_id)
    command = CreateToken(token_id="", kind=TokenKind.API_TOKEN, name=FIRST_TOKEN, hint="", scopes=(EVERYTHING,))
    done = await commands.create(operator(organization_id), command, key=f"first token of {installation.id}")
    if isinstance(done, Refused):
        raise BootstrapError("; ".join(refusal.message for refusal in done.refusals))
    return done.secret


class SecretFile:
    """A new file, readable by its owner only, that is there before the secret is and gone if none came."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BootstrapError(f"the bootstrap token file {path} cannot be made: {error.strerror}") from None

    def write(self, secret: SecretText | None) -> None:
        """Write the secret durably, or remove the file when there is none."""
        try:
            if secret is None:
                self._path.unlink()
                return
            os.write(self._descriptor, f"{secret.reveal()}\n".encode())
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)
