"""A file of an export while it grows. Must never keep what might not be whole: that is cut off and written again."""

import os
from collections.abc import Iterator
from hashlib import sha256

from events.export_format import Manifest, block_end


class Tail:
    """A file that only grows, and the SHA-256 of what is in it. The descriptor is its opener's to close."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.digest = sha256()

    def add(self, octets: bytes) -> None:
        """Write at the end."""
        view = memoryview(octets)
        while view:
            view = view[os.write(self.descriptor, view) :]
        self.digest.update(octets)

    def lines(self) -> Iterator[bytes]:
        """Read what is there from here on."""
        place = os.lseek(self.descriptor, 0, os.SEEK_CUR)
        with open(self.descriptor, "rb", closefd=False) as file:
            yield from file
        os.lseek(self.descriptor, place, os.SEEK_SET)

    def recover(self, manifest: Manifest, first: int) -> int:
        """Cut off all from here on but the blocks that others follow; answers the position that goes there next."""
        length = os.lseek(self.descriptor, 0, os.SEEK_CUR)
        block: list[bytes] = []
        following = block_end(first, manifest) + 1
        for line in self.lines():
            if line.startswith(b'{"position":%d,' % following):
                length += sum(map(len, block))
                self.digest.update(b"".join(block))
                block.clear()
                first, following = following, block_end(following, manifest) + 1
            block.append(line)
        os.ftruncate(self.descriptor, length)
        os.lseek(self.descriptor, length, os.SEEK_SET)
        return first
