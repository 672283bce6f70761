"""The one cookie of a member's session: how it is read from a request, and written and cleared in an answer (RFC 6265).

Browsers keep a cookie whose name begins with `__Host-` to this host, to TLS and to the whole of it, so that neither a
sub-domain nor who is on the way can plant one. On this machine's own `http`, where some browsers would not send it, it
has a plain name. This file reads headers itself: aiohttp takes the last of two cookies with one name, and reads quotes,
attributes and names that no browser would. Must never put a cookie's value into a message, nor say whether it is good.
"""

from collections.abc import Iterator
from typing import Final

from service.secret_text import SecretText
from service.web.credentials import CredentialError, Headers
from service.web.origins import Origin, asked_of

HOST_NAME: Final = "__Host-entri_session"
PLAIN_NAME: Final = "entri_session"
NAMES: Final = (HOST_NAME, PLAIN_NAME)
_BLANKS: Final = " \t"


def presented_cookie(headers: Headers, public: Origin | None) -> str | None:
    """Return the value of the one session cookie; None if there is none.

    Raise `CredentialError` with 400 if there are several, under one name or both: one of them was planted.
    """
    found = list(session_cookies(headers))
    if len(found) > 1:
        raise CredentialError(400, "Present one session cookie.", cookies=tuple(map(cleared_cookie, NAMES)))
    if not found or (found[0][0] == PLAIN_NAME and not is_plain(headers, public)):
        return None
    return found[0][1]


def session_cookies(headers: Headers) -> Iterator[tuple[str, str]]:
    """List names and values of the cookies that bear either name, in the order that they came."""
    for line in headers.getall("Cookie", []):
        for pair in line.split(";"):
            name, _, value = pair.partition("=")
            if (trimmed := name.strip(_BLANKS)) in NAMES:
                yield trimmed, value.strip(_BLANKS)


def is_plain(headers: Headers, public: Origin | None) -> bool:
    """Say whether the cookie has the plain name: the request is to this machine, and no browser comes over TLS."""
    asked = asked_of(headers)
    if asked is None or not asked.is_local or (public is not None and public.scheme == "https"):
        return False
    return not any(origin[:6].lower() == "https:" for origin in headers.getall("Origin", []))


def name_for(headers: Headers, public: Origin | None) -> str:
    """Choose the name of the cookie in the answer: the one that came, so that there are never two."""
    came = {name for name, _ in session_cookies(headers)}
    return PLAIN_NAME if is_plain(headers, public) and HOST_NAME not in came else HOST_NAME


def written_cookie(name: str, secret: SecretText) -> str:
    """Write the value of the header `Set-Cookie` that hands over a session: it lasts as long as the browser."""
    return f"{name}={secret.reveal()}; {_attributes(name)}"


def cleared_cookie(name: str) -> str:
    """Write the value of the header `Set-Cookie` that takes a session's cookie away."""
    return f"{name}=; Max-Age=0; {_attributes(name)}"


def _attributes(name: str) -> str:
    return f"Path=/; {'Secure; ' if name == HOST_NAME else ''}HttpOnly; SameSite=Lax"
