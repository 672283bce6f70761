"""The answer to a good key that is remembered: byte for byte what aiohttp writes, to those whose connection is kept."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from events.applications import Environment
from events.token_kinds import TokenKind
from service.credential import UNKNOWN, Credential, Verification, Wanted
from service.metrics import new_metrics
from service.requests import Requests
from service.web.acceptance import Acceptance
from service.web.answers import Surroundings
from service.web.verification import VerifyEndpoint, routes

DATE = re.compile(rb"\r\nDate: ((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)\r\n")
KEY = "entri_key"


def credential(scopes: tuple[str, ...], environment: Environment | None = None) -> Credential:
    """Make what a key was proved to belong to: where an environment is given, a client secret."""
    if environment is not None:
        application_id, token = "app_01jd0000000000000000000000", credential(scopes)
        return replace(token, kind=TokenKind.CLIENT_SECRET, application_id=application_id, environment=environment)
    return Credential(
        token_id="tok_01jd0000000000000000000000",
        organization="org_01jd0000000000000000000000",
        kind=TokenKind.API_TOKEN,
        application_id=None,
        scopes=scopes,
        expires_at=None,
        hint="aB3d…x9Zk",
        generation=0,
        completes_rotation=False,
    )


class Server:
    """A server that answers `/verify`, and how it came by each of its answers."""

    def __init__(self, socket: Path, good: Credential) -> None:
        self.socket = socket
        self.ways: list[str] = []
        self.draining = asyncio.Event()
        self._credential = good

    def accept(self, presented: str, wanted: Wanted, request: web.Request) -> Credential | None:
        """Accept the one key."""
        del wanted, request
        self.ways += ["quick"] if presented == KEY else []
        return self._credential if presented == KEY else None

    async def verify(self, presented: str, wanted: Wanted) -> Verification:
        """Accept the one key after a look-up."""
        del wanted
        self.ways.append("whole")
        return Verification(failure=None, credential=self._credential) if presented == KEY else UNKNOWN

    async def send(self, *requests: bytes) -> list[bytes]:
        """Send requests over one connection, all at once, and read the head of each answer; only the last has more."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        try:
            writer.write(b"".join(requests))
            async with asyncio.timeout(5):
                return [await reader.readuntil(b"\r\n\r\n") for _ in requests]
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def serving(
    directory: Path, *, scopes: tuple[str, ...] = ("a:read", "b:*"), environment: Environment | None = None
) -> AsyncIterator[Server]:
    """Serve the route as the service does, with one key and one question that is known."""
    server = Server(directory / "socket", credential(scopes, environment))
    endpoint = VerifyEndpoint(accept=server.accept, verify=server.verify, record=lambda *_: None)
    surroundings = Surroundings(metrics=new_metrics(), requests=Requests(), draining=server.draining)
    app = web.Application()
    app.add_routes(routes(endpoint, surroundings))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(server.socket)).start()
        yield server
    finally:
        await runner.cleanup()


def request(*headers: bytes, line: bytes = b"GET /verify HTTP/1.1", body: bytes = b"") -> bytes:
    """Write a request with the key."""
    return b"\r\n".join([line, b"Host: entri", b"X-API-Key: " + KEY.encode(), *headers, b"", body])


def undated(heads: list[bytes]) -> list[bytes]:
    """Leave the one date of each answer out."""
    assert [len(DATE.findall(head)) for head in heads] == [1] * len(heads)
    return [DATE.sub(b"\r\nDate: now\r\n", head) for head in heads]


@pytest.mark.parametrize("scopes", [(), ("a:read",), tuple(f"{letter}:*" for letter in "abcdefghij")])
async def test_the_bytes_are_those_of_aiohttp(tmp_path: Path, scopes: tuple[str, ...]) -> None:
    """The first answer to a question is written by aiohttp and the second is ours: they are the same."""
    async with serving(tmp_path, scopes=scopes) as server:
        whole, quick, again = undated(await server.send(request(), request(), request()))
        assert server.ways == ["whole", "quick", "quick"]
    assert quick == whole
    assert again == whole
    assert whole.startswith(b"HTTP/1.1 200 OK\r\nX-Entri-Organization: org_01jd0000000000000000000000\r\n")
    assert b"\r\nX-Entri-Scopes: " + " ".join(scopes).encode() + b"\r\n" in whole


async def test_a_client_secret_says_more(tmp_path: Path) -> None:
    """Its application and environment are in both answers alike, and in no other token's."""
    async with serving(tmp_path, environment=Environment.STAGING) as server:
        whole, quick = undated(await server.send(request(), request()))
        assert server.ways == ["whole", "quick"]
    assert quick == whole
    assert b"\r\nX-Entri-Application: app_01jd0000000000000000000000\r\nX-Entri-Environment: STAGING\r\n" in whole
    async with serving(tmp_path) as server:
        answers = await server.send(request(), request())
    assert not any(b"X-Entri-Application" in answer or b"X-Entri-Environment" in answer for answer in answers)


@pytest.mark.parametrize("method", [b"DELETE", b"OPTIONS", b"PROPFIND"])
async def test_every_method_is_answered_alike(tmp_path: Path, method: bytes) -> None:
    """A gateway that keeps its client's method gets what it would get for another."""
    async with serving(tmp_path) as server:
        line = method + b" /verify HTTP/1.1"
        whole, quick = undated(await server.send(request(line=line), request(line=line)))
        assert server.ways == ["whole", "quick"]
    assert quick == whole


async def test_a_body_that_nobody_reads_harms_nothing(tmp_path: Path) -> None:
    """What a client sends along is not taken for its next request."""
    async with serving(tmp_path) as server:
        body = b"GET /verify HTTP/1.1\r\n\r\n"
        post = request(b"Content-Length: %d" % len(body), line=b"POST /verify HTTP/1.1", body=body)
        chunked = request(b"Transfer-Encoding: chunked", line=b"POST /verify HTTP/1.1", body=b"5\r\nhello\r\n0\r\n\r\n")
        answers = undated(await server.send(request(), post, chunked, request()))
        assert server.ways == ["whole", "quick", "quick", "quick"]
    assert len(answers) == 4
    assert {*answers} == {answers[0]}


@pytest.mark.parametrize(
    ("asking", "says"),
    [
        (request(b"Connection: close"), b"\r\nConnection: close\r\n"),
        (request(line=b"GET /verify HTTP/1.0"), b"HTTP/1.0 200 OK\r\n"),
        (request(b"Connection: keep-alive", line=b"GET /verify HTTP/1.0"), b"\r\nConnection: keep-alive\r\n"),
    ],
)
async def test_who_does_not_keep_the_connection_is_answered_by_aiohttp(
    tmp_path: Path, asking: bytes, says: bytes
) -> None:
    """What HTTP asks for beyond the usual is left to who knows all of it."""
    async with serving(tmp_path) as server:
        await server.send(request())
        (answer,) = undated(await server.send(asking))
        assert server.ways == ["whole", "whole"]
    assert says in answer
    assert b" 200 OK\r\n" in answer


async def test_a_process_that_ends_closes_the_connection(tmp_path: Path) -> None:
    """A client's next request goes to another process."""
    async with serving(tmp_path) as server:
        await server.send(request())
        server.draining.set()
        (answer,) = undated(await server.send(request()))
    assert b"\r\nConnection: close\r\n" in answer


async def test_what_memory_cannot_accept_is_looked_up(tmp_path: Path) -> None:
    """A key that is not remembered, or two of them, never gets the quick answer."""
    async with serving(tmp_path) as server:
        await server.send(request())
        other = b"GET /verify HTTP/1.1\r\nHost: entri\r\nX-API-Key: another\r\n\r\n"
        heads = [head for asking in (other, request(b"X-API-Key: another")) for head in await server.send(asking)]
        assert server.ways == ["whole", "whole"]
    assert [head[:12] for head in heads] == [b"HTTP/1.1 401", b"HTTP/1.1 400"]


async def test_a_client_that_is_gone_is_not_written_to() -> None:
    """There is nobody to answer, and the server is told so as it is by any other answer."""
    gone = make_mocked_request("GET", "/verify")
    gone.protocol.transport = None
    with pytest.raises(ConnectionResetError):
        await Acceptance(credential(())).prepare(gone)
