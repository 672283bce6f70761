"""Cursors: opaque, versioned marks of a place in a connection. Must never be trusted unless their seal is ours.

A cursor is base64url of a JSON array and 16 bytes of HMAC-SHA-256 over it and the organization, under a key of the
installation. The seal keeps no secret: it makes a forged, truncated or foreign cursor an error instead of a surprise.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from events.log import Installation

SEAL_BYTES: Final = 16
LONGEST_CURSOR: Final = 1024
EVENTS: Final = "e1"
TOKENS: Final = "t1"
MEMBERS: Final = "m1"
APPLICATIONS: Final = "a1"


class InvalidCursorError(Exception):
    """The cursor is not one of ours, of another organization, or of another connection or order."""


class ExpiredCursorError(Exception):
    """The cursor is of an earlier generation of the log, before a restore."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursors:
    """Makes and reads the cursors of one organization."""

    installation: Installation
    organization: str

    def of_event(self, position: int) -> str:
        """Mark a position of the organization's history: good for any events connection of it."""
        return self._encode([EVENTS, self.installation.generation, position])

    def event_position(self, cursor: str) -> int:
        """Read the position that a cursor marks. Raises InvalidCursorError or ExpiredCursorError."""
        kind, *rest = self._decode(cursor)
        match rest:
            case [int(generation), int(position)] if kind == EVENTS:
                if generation != self.installation.generation:
                    raise ExpiredCursorError(
                        "this cursor is from before the log was restored: read again from the start"
                    )
                return position
        raise InvalidCursorError("this cursor does not belong to an events connection")

    def of_token(self, order: Sequence[str], value: datetime | str | None, token_id: str) -> str:
        """Mark a token's place in one order of the tokens connection."""
        return self._encode([TOKENS, list(order), value, token_id])

    def token_place(self, order: Sequence[str], cursor: str) -> tuple[datetime | str | None, str]:
        """Read the place that a cursor marks in this order. Raises InvalidCursorError."""
        kind, *rest = self._decode(cursor)
        match rest:
            case [list(own_order), (str() | None) as value, str(token_id)] if [kind, *own_order] == [TOKENS, *order]:
                if value is None or order[0] == "NAME":
                    return value, token_id
                return datetime.fromisoformat(value), token_id
        raise InvalidCursorError("this cursor does not belong to this connection in this order")

    def of_member(self, created_at: datetime, member_id: str) -> str:
        """Mark a member's place in the members connection."""
        return self._encode([MEMBERS, created_at, member_id])

    def member_place(self, cursor: str) -> tuple[datetime, str]:
        """Read the place that a cursor marks. Raises InvalidCursorError."""
        match self._decode(cursor):
            case [kind, str(created_at), str(member_id)] if kind == MEMBERS:
                return datetime.fromisoformat(created_at), member_id
        raise InvalidCursorError("this cursor does not belong to a members connection")

    def of_application(self, created_at: datetime, application_id: str) -> str:
        """Mark an application's place in the applications connection."""
        return self._encode([APPLICATIONS, created_at, application_id])

    def application_place(self, cursor: str) -> tuple[datetime, str]:
        """Read the place that a cursor marks. Raises InvalidCursorError."""
        match self._decode(cursor):
            case [kind, str(created_at), str(application_id)] if kind == APPLICATIONS:
                return datetime.fromisoformat(created_at), application_id
        raise InvalidCursorError("this cursor does not belong to the applications connection")

    def _encode(self, content: list[object]) -> str:
        body = orjson.dumps(content)
        return base64.urlsafe_b64encode(self._seal(body) + body).rstrip(b"=").decode()

    def _decode(self, cursor: str) -> list[object]:
        problem = InvalidCursorError("this is not a cursor: use one from pageInfo or an edge, unchanged")
        if not 0 < len(cursor) <= LONGEST_CURSOR or not cursor.isascii():
            raise problem
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            raise problem from None
        body = raw[SEAL_BYTES:]
        if not hmac.compare_digest(raw[:SEAL_BYTES], self._seal(body)):
            raise problem
        content: list[object] = orjson.loads(body)
        return content

    def _seal(self, body: bytes) -> bytes:
        message = self.organization.encode() + b"\x00" + body
        return hmac.digest(self.installation.cursor_key, message, "sha256")[:SEAL_BYTES]
