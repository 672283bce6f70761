"""Find the one credential that a request presents, and the plain HTTP answers to those without a good one.

This file only looks at headers: whether the key is good is decided elsewhere. It must never put a key into a message.
"""

from dataclasses import dataclass
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

# These bytes are a contract with the services that rely on them.
UNAUTHORIZED_BODY: Final = b'{"statusCode":401,"message":"Unauthorized","error":"Unauthorized"}'
FORBIDDEN_BODY: Final = b'{"statusCode":403,"message":"Forbidden resource","error":"Forbidden"}'

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

_BEARER: Final = "bearer "


class CredentialError(Exception):
    """The request is not authenticated: an HTTP status, a message for its sender, seconds to wait if that helps."""

    def __init__(
        self, status: int, message: str, retry_after: int | None = None, *, cookies: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.cookies = cookies
        """Values of `Set-Cookie`, to take away what is good for nothing."""


@dataclass(frozen=True, slots=True)
class Nobody:
    """Who comes without a good credential: may sign in, and is refused everything else like this."""

    refusal: CredentialError


def is_presented(headers: Headers) -> bool:
    """Say whether there is any credential at all."""
    return "X-API-Key" in headers or "Authorization" in headers


def presented_key(headers: Headers) -> str:
    """Return the key in the one `X-API-Key` or `Authorization: Bearer` header.

    Raise `CredentialError` with 401 if there is none, and with 400 if there is more than one in any combination: two
    parties that read such a request could each believe in another key.
    """
    keys = headers.getall("X-API-Key", [])
    authorizations = headers.getall("Authorization", [])
    if len(keys) + len(authorizations) > 1:
        raise CredentialError(400, "Present one credential: either one X-API-Key or one Authorization header.")
    if keys:
        key = keys[0].strip()
    elif authorizations and authorizations[0][: len(_BEARER)].lower() == _BEARER:
        key = authorizations[0][len(_BEARER) :].strip()
    else:
        key = ""
    if not key:
        raise CredentialError(401, "Unauthorized")
    return key
