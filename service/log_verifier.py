"""Verifies an export of the log with nothing but the export: its signature, its root, and every line.

An auditor adds what an export cannot say of itself: the key that they trust, and a checkpoint that they kept. Must
never need a database or a network, nor say that all is well when it cannot tell.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from events.checkpoint import Checkpoint, CheckpointError, VerifierKey, parse_note, parse_verifier_key
from events.export_format import ExportError, Header, Manifest, hashes_of
from events.merkle import Frontier, verify_consistency
from events.origin import Origin, parse_origin
from service.export_reader import Reading
from service.line_verifier import Growth, LineVerifier
from service.log_key import verify

NOT_THE_ROOT: Final = (
    "every line agrees with itself, but together they are not what was signed: events were altered, removed or added, "
    "and their leaf hashes with them, so it cannot be told which{}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What an auditor brings."""

    keys: tuple[VerifierKey, ...]
    """The keys that they trust; without any, the one in the export is taken at its word."""
    kept: str | None
    """The note of a checkpoint from before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """What an export was found to prove."""

    manifest: Manifest
    checkpoint: Checkpoint
    key: VerifierKey
    kept: Checkpoint | None
    first_recorded_at: str
    last_recorded_at: str
    archived: Mapping[str, int]
    """How many events the export has only the leaf hashes of, by the file of the archive that is said to hold them."""


def verify_export(reading: Reading, trust: Trust, on_progress: Callable[[int, int], None]) -> Proved:
    """Verify all that there is. Raises ExportError at the first thing that is wrong."""
    manifest = reading.header.manifest
    try:
        checkpoint, key = read_signed(reading.header, trust.keys)
        kept = None if trust.kept is None else read_kept(trust.kept, trust.keys or (key,), checkpoint)
    except CheckpointError as error:
        raise ExportError(str(error)) from None
    if kept is not None:
        check_reach(kept, checkpoint, manifest)
    growth = Growth(Frontier(manifest.first - 1, hashes_of(manifest.frontier)), None if kept is None else kept.size)
    lines = LineVerifier(manifest)
    check_kept(growth, kept, checkpoint)
    for batch in located(reading, lines):
        growth.add(lines.take(batch))
        check_kept(growth, kept, checkpoint)
        on_progress(manifest.events, lines.expected - manifest.first)
    if lines.expected <= manifest.last:
        raise ExportError(f"it is missing, with all that comes after it until {manifest.last}", lines.expected)
    if reading.problem is not None:
        raise ExportError(reading.problem)
    check_root(growth, manifest, checkpoint, kept)
    return Proved(
        manifest=manifest,
        checkpoint=checkpoint,
        key=key,
        kept=kept,
        first_recorded_at=lines.first_recorded_at.decode(),
        last_recorded_at=lines.recorded_at.decode(),
        archived=lines.archived,
    )


def located(reading: Reading, lines: LineVerifier) -> Iterator[list[bytes]]:
    """Read the lines, and say which was next where they cannot be read any more. Raises ExportError."""
    try:
        yield from reading.lines()
    except ExportError as error:
        raise ExportError(error.problem, lines.expected) from None


def read_signed(header: Header, keys: Sequence[VerifierKey]) -> tuple[Checkpoint, VerifierKey]:
    """Verify the checkpoint of an export, and hold the manifest against it. Raises ExportError or CheckpointError."""
    manifest, own = header.manifest, parse_verifier_key(header.key)
    checkpoint, key = verified(header.checkpoint, keys or (own,), "the checkpoint of the export")
    if checkpoint.origin != manifest.origin or checkpoint.size != manifest.tree_size:
        raise ExportError(
            f"its manifest speaks of {manifest.tree_size} events of {manifest.origin[:200]!a}, and its checkpoint of "
            f"{checkpoint.size} of {checkpoint.origin}: one of them was altered"
        )
    if parse_origin(checkpoint.origin).organization != manifest.organization:
        raise ExportError("its manifest names another organization than its checkpoint: it was altered")
    if own.name != checkpoint.origin:
        raise ExportError("the key in the export is not named as its checkpoint: it was altered")
    return checkpoint, key


def verified(note: str, keys: Sequence[VerifierKey], what: str) -> tuple[Checkpoint, VerifierKey]:
    """Verify a note with whichever of these keys signed it. Raises ExportError or CheckpointError.

    A log's key signs in each generation under another name, so the names are compared without the generation.
    """
    names = [signature.name for signature in parse_note(note).signatures]
    tried = [
        VerifierKey(name, key.public_key)
        for key in keys
        for name in names
        if is_same_history(parse_origin(key.name), parse_origin(name))
    ]
    for key in tried:
        try:
            return verify(note, key.text), key
        except CheckpointError as error:
            if len(tried) == 1:
                raise ExportError(f"{what} is not signed by {key.text}: {error}") from None
    trusted = ", ".join(key.name for key in keys)
    raise ExportError(f"{what} is not signed by a key that is trusted: it is by {', '.join(names)}, trusted: {trusted}")


def is_same_history(one: Origin, other: Origin) -> bool:
    """Say whether two origins name the same tree, be it in different generations."""
    return (one.installation, one.organization) == (other.installation, other.organization)


def read_kept(note: str, keys: Sequence[VerifierKey], checkpoint: Checkpoint) -> Checkpoint:
    """Verify a checkpoint that was kept, and that it is about the same history. Raises ExportError."""
    kept, _ = verified(note, keys, "the earlier checkpoint")
    older, newer = parse_origin(kept.origin), parse_origin(checkpoint.origin)
    if not is_same_history(older, newer):
        raise ExportError(f"the earlier checkpoint is about {kept.origin}, and the export about {checkpoint.origin}")
    if older.generation > newer.generation:
        raise ExportError(
            f"the earlier checkpoint is of generation {older.generation} of the log, and the export of "
            f"{newer.generation}, which ended before: this is not the newest history"
        )
    if older.generation == newer.generation and older.predecessor != newer.predecessor:
        raise ExportError("the earlier checkpoint is of another history: both began from different backups")
    return kept


def check_reach(kept: Checkpoint, checkpoint: Checkpoint, manifest: Manifest) -> None:
    """Refuse a range that does not reach the checkpoint that was kept. Raises ExportError."""
    if kept.size > checkpoint.size:
        problem = f"it is missing: the earlier checkpoint speaks of {kept.size} events, and this of {checkpoint.size}"
        raise ExportError(problem + restored(kept, checkpoint), checkpoint.size + 1)
    if not manifest.first - 1 <= kept.size <= manifest.last:
        raise ExportError(
            f"the earlier checkpoint speaks of the first {kept.size} events, and whether this history goes on from "
            f"them shows in an export that holds the positions around {kept.size}; this holds {manifest.first} to "
            f"{manifest.last}"
        )


def check_kept(growth: Growth, kept: Checkpoint | None, checkpoint: Checkpoint) -> None:
    """Hold the root at the size of the checkpoint that was kept against it. Raises ExportError."""
    if kept is not None and growth.kept_root not in {None, kept.root}:
        raise ExportError(
            f"this history does not go on from the earlier checkpoint: the first bad position is one from 1 to "
            f"{kept.size}, where events were altered, removed or added since{restored(kept, checkpoint)}"
        )


def check_root(growth: Growth, manifest: Manifest, checkpoint: Checkpoint, kept: Checkpoint | None) -> None:
    """Hold the root of all lines against the one that was signed. Raises ExportError."""
    root, proof = growth.frontier.root(), hashes_of(manifest.growth)
    if not verify_consistency(manifest.last, checkpoint.size, root, checkpoint.root, proof):
        after = manifest.first - 1 if kept is None else max(kept.size, manifest.first - 1)
        raise ExportError(NOT_THE_ROOT.format(f" of {after + 1} to {manifest.last}"))


def restored(kept: Checkpoint, checkpoint: Checkpoint) -> str:
    """Explain what a restore between two checkpoints means for what is compared."""
    older, newer = parse_origin(kept.origin), parse_origin(checkpoint.origin)
    if older.generation == newer.generation or newer.predecessor is None:
        return ""
    return (
        f". Between the two the log was restored from a backup: generation {newer.generation} began, after one whose "
        f"last known checkpoint had {newer.predecessor.size} events (root {newer.predecessor.root.hex()}). What was "
        "recorded after that backup is gone. Ask the operator which backup it was; an export of the generation "
        "before shows what is lost"
    )
