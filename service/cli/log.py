"""`entri log`: checkpoints and proofs for the operator, and checking a proof with nothing but the public key.

Must never believe what it checks, nor need the service's settings to check it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TextIO

import click

from events.checkpoint import CheckpointError, encode
from events.identifiers import prefix_of
from events.tlog_proof import parse_tlog_proof
from events.trees import OPERATOR
from service.cli.running import DATABASE_OPTIONS, KEY_OPTIONS, examples, run, settings_options
from service.core import open_core
from service.log_key import verify
from service.settings import Settings
from service.signing import NotSignedError
from service.tree_proofs import NotProvableError, TreeProofs

OPTIONS: Final = (*DATABASE_OPTIONS, *KEY_OPTIONS)
ORGANIZATION = click.option("--organization", help="The organization's id (org_…); the whole log if left out.")
LARGEST: Final = 2**63 - 1


@click.group(
    epilog=examples(
        "entri log checkpoint --organization org_…",
        "entri log key --organization org_… > acme.vkey",
        "entri log prove evt_… --organization org_… > event.tlog-proof",
        "entri log verify-proof event.tlog-proof --key acme.vkey",
    )
)
def log() -> None:
    """Sign the log, prove what is in it, and check such proofs."""


@log.command(epilog=examples("entri log checkpoint", "entri log checkpoint --organization org_…"))
@ORGANIZATION
@settings_options(*OPTIONS)
def checkpoint(organization: str | None, **options: str | None) -> None:
    """Print the newest signed checkpoint; signs it where the log has grown since the last one."""

    async def work(settings: Settings) -> None:
        async with open_proofs(settings) as proofs:
            found = await proofs.checkpoint(tree_of(organization))
            if found is None:
                raise click.ClickException("there is nothing to sign: no event was recorded there")
            click.echo(found.text, nl=False)

    run(options, work)


@log.command(epilog=examples("entri log key", "entri log key --organization org_…"))
@ORGANIZATION
@settings_options(*OPTIONS)
def key(organization: str | None, **options: str | None) -> None:
    """Print the public key of the checkpoints, as those who verify need it ("vkey")."""

    async def work(settings: Settings) -> None:
        async with open_proofs(settings) as proofs:
            click.echo(proofs.key(tree_of(organization)))

    run(options, work)


@log.command(epilog=examples("entri log prove evt_… > event.tlog-proof"))
@click.argument("event_id")
@ORGANIZATION
@settings_options(*OPTIONS)
def prove(event_id: str, organization: str | None, **options: str | None) -> None:
    """Print the proof that an event is in the log: a C2SP tlog-proof that holds the event and a checkpoint."""

    async def work(settings: Settings) -> None:
        async with open_proofs(settings) as proofs:
            proof = await proofs.prove_event(tree_of(organization), event_id)
            click.echo(proof.text, nl=False)

    run(options, work)


@log.command(epilog=examples("entri log consistency --from 100 --to 250 --organization org_…"))
@click.option("--from", "old", type=click.IntRange(0, LARGEST), required=True, help="The size of the earlier tree.")
@click.option("--to", "size", type=click.IntRange(0, LARGEST), required=True, help="The size of the later tree.")
@ORGANIZATION
@settings_options(*OPTIONS)
def consistency(old: int, size: int, organization: str | None, **options: str | None) -> None:
    """Print the proof that the log only grew, a hash in base64 a line."""

    async def work(settings: Settings) -> None:
        async with open_proofs(settings) as proofs:
            proof = await proofs.consistency(tree_of(organization), old, size)
            for one in proof.hashes:
                click.echo(encode(one))

    run(options, work)


@log.command("verify-proof", epilog=examples("entri log verify-proof event.tlog-proof --key acme.vkey"))
@click.argument("proof", type=click.File("r", encoding="utf-8"))
@click.option("--key", "key_", required=True, help="The public key, or a file that holds it.")
def verify_proof(proof: TextIO, key_: str) -> None:
    """Check a proof with nothing but the public key: no database, no network. Prints the event that was proved."""
    try:
        read = parse_tlog_proof(proof.read())
        checkpoint = verify(read.note, key_of(key_))
    except (CheckpointError, UnicodeDecodeError) as error:
        raise click.ClickException(f"not proved: {error}") from None
    if not read.proves(checkpoint):
        raise click.ClickException("not proved: the event is not in the tree of the checkpoint, which is good")
    click.echo(read.entry)
    click.echo(f"position {read.index + 1} of {checkpoint.size} in {checkpoint.origin}", err=True)


def key_of(text: str) -> str:
    """Read a key that is given itself or by the name of a file. Raises ClickException."""
    if "+" in text:
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise click.ClickException(f"{text} is no key and no file that can be read") from None


@asynccontextmanager
async def open_proofs(settings: Settings) -> AsyncIterator[TreeProofs]:
    """Open the log; what is expected to go wrong with a proof ends the command with one line."""
    async with open_core(settings) as core:
        try:
            yield TreeProofs(pool=core.pool, signer=core.signer)
        except (NotProvableError, NotSignedError) as error:
            raise click.ClickException(str(error)) from None


def tree_of(organization: str | None) -> str:
    """Name the tree of an organization, or that of the whole log. Raises ClickException for what cannot be an id."""
    if organization is not None and prefix_of(organization) != "org":
        raise click.ClickException("there is no such organization: give the id that its creation printed")
    return organization or OPERATOR
