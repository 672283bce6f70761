"""A secret in memory, wrapped so that it leaves only where somebody wrote `reveal()`.

Text representations, formatting, tracebacks that print locals and metric labels see a placeholder; JSON encoders and
pickle get an error. It must never offer the value, its length or a hash of it in any other way, nor import anything but
the standard library.
"""

import hmac
from typing import ClassVar, NoReturn, SupportsIndex, final


@final
class SecretText:
    """Text that only `reveal` shows; compared in constant time, unhashable, never copied or pickled."""

    __slots__ = ("_value",)

    # A hash would let dictionaries compare secrets byte by byte, and would differ from one process to the next anyway.
    __hash__: ClassVar[None]  # type: ignore[assignment]  # how typeshed itself declares an unhashable class

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for the one response, digest or seal that needs it."""
        return self._value

    def __eq__(self, other: object) -> bool:
        """Compare without telling by its duration where two secrets of one length differ."""
        if not isinstance(other, SecretText):
            return NotImplemented
        return hmac.compare_digest(_octets(self._value), _octets(other._value))

    def __repr__(self) -> str:
        """Show that a secret is here, and nothing of it."""
        return "SecretText(…)"

    def __format__(self, format_spec: str) -> str:
        """Ignore the specification: a width or a precision must neither fail nor show anything."""
        return repr(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse with `TypeError` to be pickled or copied: a copy outlives the response that it was made for."""
        raise TypeError("a SecretText is never pickled or copied")

    def __getstate__(self) -> NoReturn:
        """Refuse with `TypeError` too, since the inherited method hands out the slots."""
        raise TypeError("a SecretText has no state to hand out")


def _octets(value: str) -> bytes:
    # `compare_digest` takes ASCII text only, and what came over the network may hold lone surrogates.
    return value.encode("utf-8", "surrogatepass")
