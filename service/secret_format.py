"""The written form of a secret: a prefix, 43 base62 characters that hold 256 random bits, 6 of CRC-32 over all before.

The prefix and the checksum follow "Behind GitHub's new authentication token formats" (github.blog, 2021): scanners can
recognise a leaked secret, and a mistyped one costs no look-up. The checksum proves nothing about authenticity. This
module must never do I/O, choose its own randomness, or import anything but the standard library and `SecretText`.
"""

import re
import zlib
from collections.abc import Callable

from service.secret_text import SecretText

DEFAULT_PREFIX = "entri_"
PREFIX_RULE = "a lower-case letter, up to 15 lower-case letters or digits, and an underscore"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_PAIR = len(_PAIRS)
_RANDOM_BYTES = 32
_RANDOM_CHARACTERS = 43  # the fewest that hold 256 bits: 62**43 is just above 2**256
_CHECKSUM_CHARACTERS = 6  # the fewest that hold 32 bits
_BODY_CHARACTERS = _RANDOM_CHARACTERS + _CHECKSUM_CHARACTERS
_HINT_CHARACTERS = 4
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,15}_")


def is_valid_prefix(prefix: str) -> bool:
    """Tell whether the whole of `prefix` obeys `PREFIX_RULE`, so that a double click selects the whole secret."""
    return _PREFIX.fullmatch(prefix) is not None


def generate(prefix: str, random_bytes: Callable[[int], bytes]) -> SecretText:
    """Make a new secret: `prefix` and 49 characters, 55 in all for the default prefix.

    `random_bytes(32)` must come from the operating system (`os.urandom`). Raises `ValueError` for a prefix that breaks
    `PREFIX_RULE` or a source that returned too little or too much.
    """
    if not is_valid_prefix(prefix):
        raise ValueError(f"the prefix of a secret must be {PREFIX_RULE}")
    entropy = random_bytes(_RANDOM_BYTES)
    if len(entropy) != _RANDOM_BYTES:
        raise ValueError(f"the source of randomness returned {len(entropy)} bytes instead of {_RANDOM_BYTES}")
    text = prefix + _base62(int.from_bytes(entropy, "big"), _RANDOM_CHARACTERS)
    return SecretText(text + _checksum(text))


def is_well_formed(prefix: str, presented: str) -> bool:
    """Tell whether `presented` has the exact length, prefix, alphabet and checksum.

    Any text at all gets an answer and never an error. It need not take constant time, since the caller can compute all
    that it compares.
    """
    if len(presented) != len(prefix) + _BODY_CHARACTERS or not presented.startswith(prefix):
        return False
    # `isalnum` alone would admit the letters and digits of every script.
    if not presented.isascii() or not presented[len(prefix) :].isalnum():
        return False
    return presented.endswith(_checksum(presented[:-_CHECKSUM_CHARACTERS]))


def hint(prefix: str, secret: SecretText) -> str:
    """Return what may be shown for ever: the prefix, then the first and last four characters after it.

    They tell at most 48 of the 256 bits. Raises `ValueError` for anything but a well-formed secret, of which eight
    characters could be too much.
    """
    if not is_well_formed(prefix, secret.reveal()):
        raise ValueError("a hint can only be taken from a well-formed secret")
    text = secret.reveal()
    return f"{text[: len(prefix) + _HINT_CHARACTERS]}…{text[-_HINT_CHARACTERS:]}"


def _checksum(text: str) -> str:
    # Two digits at a time: this is done for every key that is presented.
    rest, last = divmod(zlib.crc32(text.encode("ascii")), _PAIR)
    first, middle = divmod(rest, _PAIR)
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits
