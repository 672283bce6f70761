"""Whether a request may use the session's cookie that came with it: found out by its head alone.

A browser adds the cookie to whatever any page makes it send. So it counts only where a page of ours asked, with a body
that no form can send. Whether the session is good is decided elsewhere. Must never read a body, nor look at a cookie
where a key is presented.
"""

from typing import Final

from aiohttp import web

from service.web.cookies import presented_cookie, session_cookies
from service.web.credentials import CredentialError
from service.web.origins import Origin, Source, source_of
from service.web.parameters import check_body_type

FOREIGN_PAGE: Final = "Only a page of this service's own origin may do this: see the setting --public-origin."


def cookie_of_post(request: web.Request, public: Origin | None) -> str | None:
    """Return the session's cookie of a request without a key; None where there is none.

    Raise CredentialError with 403 for a foreign page, cookie or not: it may not even sign somebody in. One that does
    not say where it comes from may have no cookie. Raise RefusedError for a cookie with a body that is no JSON.
    """
    cookie = cookie_of_page(request, public)
    if cookie is None:
        if source_of(request.headers, public) is Source.FOREIGN:
            raise CredentialError(403, FOREIGN_PAGE)
        return None
    check_body_type(request)
    return cookie


def cookie_of_page(request: web.Request, public: Origin | None) -> str | None:
    """Return the session's cookie of a request without a key, made by a page of ours; None where there is none.

    Raise CredentialError with 403 where another page made it, or none did, and a cookie came with it that counts or
    would count elsewhere; and with 400 for several cookies.
    """
    cookie = presented_cookie(request.headers, public)
    if source_of(request.headers, public) is not Source.OWN and any(session_cookies(request.headers)):
        raise CredentialError(403, FOREIGN_PAGE)
    return cookie
