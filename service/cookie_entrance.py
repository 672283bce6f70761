"""How members come in: by their session's cookie, where the page that sent it is ours.

Must never let in by a cookie where a key is presented, nor on GET: whoever makes a browser open an address makes it
send the cookie too.
"""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from service.api.context import Context
from service.authorization import Principal
from service.availability import LONGEST_VERIFICATION_S, RETRY_AFTER_S, is_unavailable
from service.credential import MemberCredential
from service.member_sessions import MemberSessions
from service.pacing import Pace
from service.sessions import Session, Sessions, presented_to
from service.web.admission import cookie_of_page, cookie_of_post
from service.web.cookies import cleared_cookie, name_for, presented_cookie, written_cookie
from service.web.credentials import CredentialError, Nobody
from service.web.origins import Origin
from service.web.websocket import is_upgrade


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieEntrance:
    """Where requests without a key come in."""

    members: MemberSessions
    sessions: Sessions
    pace: Pace
    public: Origin | None
    """Where browsers find the service, if that is known."""

    async def authenticate(self, request: web.Request) -> Principal | Nobody:
        """Verify the session of a request and note its use; who has none, or one that is over, is nobody.

        Raises CredentialError and RefusedError.
        """
        found = await self._found(request)
        if isinstance(found, Nobody):
            return found
        self.members.touch(found[1])
        return found[1].principal

    async def confirm(self, request: web.Request) -> None:
        """Verify the session of a request once more, before it is answered. Raises CredentialError."""
        cookie = presented_cookie(request.headers, self.public)
        if cookie is None or await self._verified(cookie) is None:
            raise self._refusal(request)

    async def open(self, request: web.Request) -> Session:
        """Verify a session that is to be used for a while. Raises CredentialError and RefusedError."""
        found = await self._found(request)
        if isinstance(found, Nobody):
            raise found.refusal
        cookie, credential = found
        session = self.sessions.open(presented_to(self.members, cookie), credential)
        session.on_use = lambda: self.members.touch(credential)
        return session

    def check_upgrade(self, request: web.Request) -> None:
        """Raise CredentialError for an upgrade to a WebSocket with a cookie by a page that is not ours."""
        cookie_of_page(request, self.public)

    def written(self, request: web.Request, context: Context) -> str | None:
        """Write what becomes of the cookie in the answer; None where it stays as it is."""
        if context.cookie is None:
            return None
        name, secret = name_for(request.headers, self.public), context.cookie.secret
        return cleared_cookie(name) if secret is None else written_cookie(name, secret)

    async def _found(self, request: web.Request) -> tuple[str, MemberCredential] | Nobody:
        cookie = self._presented(request)
        if cookie is None:
            return Nobody(CredentialError(401, "Unauthorized"))
        credential = await self._verified(cookie)
        return Nobody(self._refusal(request)) if credential is None else (cookie, credential)

    def _presented(self, request: web.Request) -> str | None:
        if request.method == "POST":
            return cookie_of_post(request, self.public)
        return cookie_of_page(request, self.public) if is_upgrade(request) else None

    async def _verified(self, cookie: str) -> MemberCredential | None:
        try:
            async with asyncio.timeout(LONGEST_VERIFICATION_S):
                verified = await self.members.verify(cookie)
            if verified.failure is not None:
                await self.pace.wait()
        except Exception as error:
            if not is_unavailable(error):
                raise
            raise CredentialError(503, "The service is busy: try again.", RETRY_AFTER_S) from error
        return verified.credential if verified.failure is None else None

    def _refusal(self, request: web.Request) -> CredentialError:
        """Refuse a cookie that is good for nothing, and take it away."""
        return CredentialError(401, "Unauthorized", cookies=(cleared_cookie(name_for(request.headers, self.public)),))
