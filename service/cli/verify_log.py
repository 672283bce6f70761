"""`entri verify-log`: takes no settings, no database and no network. Must never say OK to what it could not verify."""

from pathlib import Path

import click

from events.checkpoint import CheckpointError, VerifierKey, encode, parse_verifier_key
from events.export_format import ExportError
from service.cli.examples import examples
from service.cli.progress import Progress
from service.export_reader import open_export, read_checkpoint
from service.log_verifier import Proved, Trust, verify_export

UNTRUSTED = "the export's own: with --key it would be yours"


@click.command(
    "verify-log",
    epilog=examples(
        "entri verify-log log-2026-01 --key log.vkey",
        "entri verify-log log-2026-02 --key log.vkey --since log-2026-01/checkpoint.txt",
    ),
)
@click.argument("export", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--since",
    type=click.Path(exists=True, path_type=Path),
    help="A checkpoint from before (its file, or the directory of an earlier export) that the history must go on from.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    help="The log's public key (`entri/…+…+…`), or a file that holds it; may be repeated. Without it, the key in the "
    "export is taken at its word.",
)
def verify_log(export: Path, since: Path | None, keys: tuple[str, ...]) -> None:
    """Verify an export offline: signature, root, every line. Names the first bad position, with exit code 1."""
    try:
        kept = None if since is None else read_checkpoint(since)
        trust = Trust(keys=tuple(read_key(key) for key in keys), kept=kept)
        with open_export(export) as reading, Progress("verifying") as progress:
            proved = verify_export(reading, trust, progress.show)
    except ExportError as error:
        where = "" if error.position is None else f"; the first bad position is {error.position}"
        raise click.ClickException(f"not verified{where}: {error.problem}") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or export}: {error.strerror}") from None
    click.echo("\n".join(report(proved, is_trusted=bool(keys))))


def read_key(text: str) -> VerifierKey:
    """Read a key from the command line or a file."""
    try:
        if "+" not in text:
            text = Path(text).read_text(encoding="utf-8").strip()
        return parse_verifier_key(text)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise click.UsageError(f"--key is neither a key (`entri/…+…+…`) nor a file with one: {text}: {why}") from None
    except CheckpointError as error:
        raise click.UsageError(f"--key: {error}") from None


def report(proved: Proved, *, is_trusted: bool) -> list[str]:
    """Say what was proved."""
    manifest, checkpoint, kept = proved.manifest, proved.checkpoint, proved.kept
    lines = [
        "OK",
        f"log         {checkpoint.origin}",
        f"history     {'the whole log' if manifest.organization is None else manifest.organization}",
        f"positions   {manifest.first} to {manifest.last}, none missing, each as the tree of the log took it in",
        f"recorded    {proved.first_recorded_at} to {proved.last_recorded_at}",
        f"checkpoint  {checkpoint.size} events, root {encode(checkpoint.root)}, signature good",
        f"key         {proved.key.text} ({'trusted' if is_trusted else UNTRUSTED})",
    ]
    if kept is not None:
        lines.append(f"since       goes on from the checkpoint of {kept.size} events, root {encode(kept.root)}")
    lines += [
        f"archived    {count} events, which this export does not hold: hold their leaf hashes against {name}"
        for name, count in sorted(proved.archived.items())
    ]
    return lines
