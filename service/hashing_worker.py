"""Hashes in a process of its own, which `service.hashing_workers` starts: `python -m service.hashing_worker`.

It reads a question a line and writes an answer a line, in order, as JSON, and ends with whoever asks. Its priority is
below that of what answers requests. Must never see a password: what it hashes are digests.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any, Final

from argon2 import PasswordHasher

from service.hashing import VerifierError, matches

NICENESS: Final = 10
"""Of 0 to 19. At 19 a hash takes twenty times as long where everything else is busy; at 10 four times."""


def main() -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for who asks
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    with suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            sys.stdout.buffer.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
            sys.stdout.buffer.flush()


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Hash a digest, or say whether a verifier is one of it."""
    hasher, digest, phc = PasswordHasher(**question["cost"]), bytes.fromhex(question["digest"]), question["phc"]
    try:
        return {"phc": hasher.hash(digest)} if phc is None else {"matches": matches(hasher, phc, digest)}
    except VerifierError as error:
        return {"verifier": str(error)}
    except Exception as error:  # noqa: BLE001 -- there may be no memory for it: it is told, and the next one is tried
        return {"failed": type(error).__name__}


if __name__ == "__main__":
    main()
