"""The first start: on an empty log, one organization and one token that may do everything. Must never do so twice.

The ids follow from the installation, so of two processes that start together one makes them and the other finds them.
"""

import contextlib
import os
from pathlib import Path
from typing import Final, Self

import structlog

from events.identifiers import derived_id
from events.log import Installation, read_head
from events.refusals import Refused
from events.scopes import EVERYTHING
from events.statement import Pool
from events.token_kinds import TokenKind
from events.tokens import CreateToken
from projections.organizations import find_organization
from service.authorization import operator
from service.organization_commands import OrganizationCommands
from service.secret_text import SecretText
from service.token_commands import TokenCommands

FIRST_ORGANIZATION: Final = "Default"
FIRST_TOKEN: Final = "bootstrap"  # noqa: S105 -- the name of a token
FIRST_OWNER: Final = "entri admin member create --organization {} --role OWNER --email YOUR_ADDRESS --name YOUR_NAME"
"""How the first person gets in, which the first start says."""


log = structlog.get_logger(__name__)


class BootstrapError(Exception):
    """The first token could not be handed over, so none was made."""


async def bootstrap(
    pool: Pool,
    installation: Installation,
    *,
    organizations: OrganizationCommands,
    commands: TokenCommands,
    file: Path | None,
) -> SecretText | None:
    """Make the first organization and token when the log is empty, and hand the token's secret over, once.

    It is written to a new file, or answered when there is none to write to. Raises BootstrapError.
    """
    organization_id = derived_id("org", installation.id, "first")
    head = await read_head(pool)
    # One event: a first start that was cut short between the two, or an organization that the operator made.
    if head > 1 or (head == 1 and await find_organization(pool, organization_id) is None):
        return None
    with contextlib.nullcontext() if file is None else SecretFile(file) as place:
        event_id = derived_id("evt", installation.id, "first organization")
        await organizations.create(FIRST_ORGANIZATION, organization_id=organization_id, event_id=event_id)
        log.info("first_organization", organization=organization_id, name=FIRST_ORGANIZATION)
        log.info("first_owner", command=FIRST_OWNER.format(organization_id))
        command = CreateToken(token_id="", kind=TokenKind.API_TOKEN, name=FIRST_TOKEN, hint="", scopes=(EVERYTHING,))
        done = await commands.create(operator(organization_id), command, key=f"first token of {installation.id}")
        if isinstance(done, Refused):
            raise BootstrapError("; ".join(refusal.message for refusal in done.refusals))
        if place is None or done.secret is None:
            return done.secret
        place.write(done.secret)
        return None


class SecretFile:
    """A new file, readable by its owner only, that is there before the secret is and gone if none came."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = False

    def __enter__(self) -> Self:
        """Make the file. Raises BootstrapError."""
        try:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            problem = "exists, and no file is overwritten: remove it, or name another"
            raise BootstrapError(f"the bootstrap token file {self._path} {problem}") from None
        except OSError as error:
            raise BootstrapError(f"the bootstrap token file {self._path} cannot be made: {error.strerror}") from None
        return self

    def write(self, secret: SecretText) -> None:
        """Write the secret durably."""
        os.write(self._descriptor, f"{secret.reveal()}\n".encode())
        os.fsync(self._descriptor)
        self._written = True

    def __exit__(self, *_: object) -> None:
        """Close the file, and remove it when there was nothing to write."""
        os.close(self._descriptor)
        if not self._written:
            self._path.unlink(missing_ok=True)
