"""The answer to a good key, written in one piece: what a gateway waits for. Must never hold anything but headers.

It leaves out what a response in general may need and this one does not (a body, compression, cookies, chunks), and so
costs about a third of one. The bytes are those that aiohttp would write, but that an answer to HEAD says its length.
"""

import time
from email.utils import formatdate
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from service.credential import Credential
from service.web.answers import SERVER


class Acceptance(web.StreamResponse):
    """A whole response for a connection that is kept: see `fits`."""

    def __init__(self, credential: Credential) -> None:
        super().__init__()
        self._credential = credential

    @property
    def keep_alive(self) -> bool:
        """Say that the connection is kept."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it. Nothing is waited for between the decision and this."""
        if (transport := request.transport) is None:
            raise ConnectionResetError("the client is gone")
        credential = self._credential
        head = (
            "HTTP/1.1 200 OK\r\n"
            f"X-Entri-Organization: {credential.organization}\r\nX-Entri-Token: {credential.token_id}\r\n"
            f"X-Entri-Kind: {credential.kind}\r\nX-Entri-Scopes: {' '.join(credential.scopes)}\r\n"
            f"{'' if credential.environment is None else of_application(credential)}"
            f"Cache-Control: no-store\r\nServer: {SERVER}\r\nContent-Length: 0\r\n"
        )
        transport.write(head.encode("ascii") + DATES.line())
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: it is written."""


def of_application(credential: Credential) -> str:
    """Write what only a client secret has."""
    return f"X-Entri-Application: {credential.application_id}\r\nX-Entri-Environment: {credential.environment}\r\n"


def fits(request: web.BaseRequest) -> bool:
    """Say whether the client speaks HTTP/1.1 and keeps its connection."""
    return request.version == HttpVersion11 and request.keep_alive


class Dates:
    """The value of the header `Date` (RFC 9110, 6.6.1), written anew once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        """Write the line that ends a head."""
        now = int(time.time())
        if now != self._second:
            self._second, self._line = now, f"Date: {formatdate(now, usegmt=True)}\r\n\r\n".encode("ascii")
        return self._line


DATES: Final = Dates()
