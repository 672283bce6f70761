"""Members in browsers for the tests: what a browser adds to a request by itself, and requests that no body follows."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

from tests.api.conftest import ACCEPT, PATIENCE_S, Answer, Service
from tests.api.people import Someone

PLAIN: Final = "entri_session"
HOST: Final = "__Host-entri_session"
VIEWER: Final = "{ viewer { scopes } }"


def cookie_of(member: Someone) -> dict[str, str]:
    """Write the header that a browser sends a member's cookie in."""
    return {"Cookie": f"theme=dark; {PLAIN}={member.cookie}"}


async def from_page(service: Service, member: Someone, query: str, **variables: object) -> Answer:
    """Post a document as a page of the service's own origin does."""
    sent = {"Origin": service.url, **ACCEPT, **cookie_of(member)}
    return await service.request("POST", "/graphql", json={"query": query, "variables": variables}, headers=sent)


async def without_body(
    service: Service, headers: Iterable[tuple[str, str]], *, method: str = "POST"
) -> tuple[int, list[tuple[str, str]]]:
    """Send the head of a request whose body never comes, and return the status and the headers of the answer."""
    place = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        lines = [f"{method} /graphql HTTP/1.1", f"Host: {place.netloc}", "Content-Length: 64"]
        lines += [f"{name}: {value}" for name, value in headers]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        async with asyncio.timeout(PATIENCE_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *fields = head.split("\r\n")
        told = [(name, value) for name, _, value in (line.partition(": ") for line in fields if line)]
        return int(status.split()[1]), told
    finally:
        writer.close()
        await writer.wait_closed()


def cookies_set(headers: Mapping[str, str]) -> list[str]:
    """List the cookies that an answer sets."""
    assert isinstance(headers, CIMultiDictProxy)
    return list(headers.getall("Set-Cookie", []))
