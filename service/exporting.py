"""Makes exports: as of a checkpoint that is signed now, into files, from where an interrupted one was left.

Must never export as of anything that is not signed, nor put two histories into one export.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

import structlog

from events.checkpoint import parse_checkpoint, parse_note
from events.export import Asked, describe_export, read_blocks
from events.export_format import PART_SIZE, ExportError, Header, Manifest
from events.log import read_head
from events.tiles import TilesMissingError
from events.tree_growth import TreesStoppedError, grow
from events.trees import OPERATOR, root_at, tree_size
from service.export_files import Output
from service.signing import Signer

PAUSE_S: Final = 0.02
LONGEST_STALL_S: Final = 5.0
"""How long another process may hold the lease of the trees without their growing."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
Progress = Callable[[Manifest, int], None]
"""Told what is exported, and which position was written last."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Exporter:
    """Exports the log that a signer speaks for."""

    signer: Signer
    part_size: int = PART_SIZE

    async def export(self, asked: Asked, output: Output, on_progress: Progress) -> Manifest:
        """Export what is asked for, or what is left of it. Raises ExportError or NotSignedError."""
        try:
            return await self._export(asked, output, on_progress)
        except TilesMissingError as error:
            raise ExportError(f"the tree of the log was altered, so nothing can be proved from it: {error}") from error

    async def _export(self, asked: Asked, output: Output, on_progress: Progress) -> Manifest:
        header = await on_disk(output.header)
        if header is None:
            header = await self.describe(asked)
            await on_disk(partial(output.begin, header))
            position = header.manifest.first - 1
        else:
            await self.check_resumed(header, asked)
            position = await on_disk(partial(output.resume, header))
        manifest = header.manifest
        on_progress(manifest, position)
        async with aclosing(read_blocks(self.signer.pool, manifest, after=position)) as blocks:
            async for block in blocks:
                await on_disk(partial(output.write, block))
                on_progress(manifest, block.last)
        await on_disk(output.finish)
        return manifest

    async def describe(self, asked: Asked) -> Header:
        """Sign the history as it is now, and write the header of its export. Raises ExportError or NotSignedError."""
        await self.take_in()
        signed = await self.signer.sign(asked.organization or OPERATOR)
        if signed is None:
            whose = "the log" if asked.organization is None else f"the history of {asked.organization}"
            raise ExportError(f"{whose} holds no events, so there is nothing to export")
        checkpoint = parse_checkpoint(parse_note(signed.text).text)
        key = self.signer.key.verifier_key(checkpoint.origin)
        header = await describe_export(self.signer.pool, asked, checkpoint=checkpoint, note=signed.text, key=key)
        return replace(header, manifest=replace(header.manifest, part_size=self.part_size))

    async def take_in(self) -> None:
        """Let the trees take in what the log holds now. Where they cannot go on, what they have is exported."""
        pool = self.signer.pool
        head, size, stalled_s = await read_head(pool), await tree_size(pool, OPERATOR), 0.0
        try:
            while size < head and stalled_s < LONGEST_STALL_S:
                if await grow(pool) is None:  # another process is at it
                    await asyncio.sleep(PAUSE_S)
                    stalled_s += PAUSE_S
                before, size = size, await tree_size(pool, OPERATOR)
                stalled_s = 0.0 if size > before else stalled_s
        except TreesStoppedError as error:
            log.warning("trees_stopped", position=error.position, problem=str(error), exported_until=size)

    async def check_resumed(self, header: Header, asked: Asked) -> None:
        """Refuse to go on with an export of something else. Raises ExportError."""
        manifest = header.manifest
        first, last = asked.first or 1, asked.last or manifest.tree_size
        if (asked.organization, first, last) != (manifest.organization, manifest.first, manifest.last):
            whose = "the whole log" if manifest.organization is None else manifest.organization
            raise ExportError(
                f"what was begun there is an export of positions {manifest.first} to {manifest.last} of {whose}: "
                "finish it with the options it was begun with, remove it, or choose another name"
            )
        tree = manifest.organization or OPERATOR
        checkpoint = parse_checkpoint(parse_note(header.checkpoint).text)
        ours = self.signer.installation.origin(manifest.organization).text
        known = min(checkpoint.size, await tree_size(self.signer.pool, tree))
        if (
            (checkpoint.origin, manifest.origin) != (ours, ours)
            or (checkpoint.size, known) != (manifest.tree_size, manifest.tree_size)
            or await root_at(self.signer.pool, tree, known) != checkpoint.root
        ):
            raise ExportError("what was begun there is an export of another log: remove it, or choose another name")


async def on_disk(work: Callable[[], Result]) -> Result:
    """Do something with files beside the event loop, and see it end even when cancelled. Raises ExportError."""
    doing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.gather(doing, return_exceptions=True)
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        raise ExportError(f"the export cannot be written: {where}{error.strerror}") from error
