"""What Traefik and Envoy are documented to ask, with what their pages print, of a real service.

Sources: Traefik's pkg/middlewares/auth/forward.go and pkg/middlewares/forwardedheaders (3.7); Envoy's ext_authz.proto
and ext_authz_http_impl.cc (1.40), and the bytes that this Envoy sends.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.api.conftest import Service, unknown_key
from tests.gateways.pages import ENVOY_FILTERS, ENVOY_PREFIX, TRAEFIK

pytestmark = pytest.mark.asyncio(loop_scope="session")

Question = Callable[[str, str, str], bytes]
"""From an organization, lines with a key, and a request's line (its method and target), to the bytes on the wire."""
Ask = Callable[[bytes], Awaitable[tuple[int, dict[str, str]]]]

REQUESTS: Final = ("GET /", "POST /orders?page=2", "DELETE /a/b%2Fc/../d", "OPTIONS *", "PROPFIND /x?a=%ff&b=/?")


def traefik(organization: str, key_lines: str, line: str) -> bytes:
    """Write what Traefik asks: GET, the headers of the page's list, and its own about the request."""
    method, target = line.split(" ")
    address = urlsplit(TRAEFIK["middlewares"]["ask-entri"]["forwardAuth"]["address"])
    return raw(
        f"GET {address.path}?{address.query}",
        f"Host: {address.netloc}\r\nUser-Agent: Go-http-client/1.1\r\n{key_lines}"
        "X-Forwarded-For: 192.0.2.7, 127.0.0.1\r\nX-Forwarded-Host: api.example.com\r\n"
        f"X-Forwarded-Method: {method}\r\nX-Forwarded-Port: 80\r\nX-Forwarded-Proto: http\r\n"
        f"X-Forwarded-Server: gateway\r\nX-Forwarded-Uri: {target}\r\nX-Real-Ip: 127.0.0.1\r\n"
        "Accept-Encoding: gzip\r\n",
        organization,
    )


def envoy(organization: str, key_lines: str, line: str) -> bytes:
    """Write what Envoy asks: the request's own method, the page's path, names in lower case, and no body."""
    path = ENVOY_FILTERS["ext_authz"]["http_service"]["path_override"]
    method, _ = line.split(" ")
    return raw(f"{method} {path}", envoy_headers(key_lines), organization)


def old_envoy(organization: str, key_lines: str, line: str) -> bytes:
    """Write what Envoy asked before 1.38: the request's path and query behind the page's prefix."""
    method, target = line.split(" ")
    return raw(f"{method} {ENVOY_PREFIX}{target}", envoy_headers(key_lines), organization)


def envoy_headers(key_lines: str) -> str:
    """Write the headers of a question of Envoy's."""
    names = re.sub(r"^[^:]+", lambda name: name[0].lower(), key_lines, flags=re.MULTILINE)
    return (
        f"host: api.example.com\r\ncontent-length: 0\r\nx-forwarded-for: 192.0.2.7\r\n{names}"
        "x-envoy-internal: true\r\nx-envoy-expected-rq-timeout-ms: 1000\r\n"
    )


def raw(line: str, headers: str, organization: str) -> bytes:
    """Write a request without a body, with an organization in the place of the page's."""
    return f"{line} HTTP/1.1\r\n{headers}\r\n".replace("org_…", organization).encode()


@asynccontextmanager
async def kept_connection(service: Service) -> AsyncIterator[Ask]:
    """Connect once, and ask as often as wanted."""
    place = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)

    async def ask(question: bytes) -> tuple[int, dict[str, str]]:
        writer.write(question)
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.rstrip().split("\r\n")
            headers = {name: value.strip() for name, _, value in (each.partition(":") for each in lines)}
            await reader.readexactly(int(headers["Content-Length"]))
        return int(status.split()[1]), headers

    try:
        yield ask
    finally:
        writer.close()
        await writer.wait_closed()


async def asked(service: Service, questions: Sequence[bytes]) -> list[int]:
    """Ask everything over one connection, and answer the statuses."""
    async with kept_connection(service) as ask:
        return [(await ask(question))[0] for question in questions]


@pytest.mark.parametrize("question", [traefik, envoy, old_envoy])
async def test_what_is_asked_is_answered(service: Service, question: Question) -> None:
    """Every method and path, each kind of key, in one connection that is kept whatever the answer was."""
    good = await service.token("reports:read")
    weak = await service.token("reports:write", organization=good.organization)
    foreign = await service.token("reports:read")
    lines = {
        f"X-Api-Key: {good.key}\r\n": 200,
        f"Authorization: Bearer {good.key}\r\n": 200,
        f"X-Api-Key: {weak.key}\r\n": 403,
        f"X-Api-Key: {foreign.key}\r\n": 401,
        f"X-Api-Key: {unknown_key()}\r\n": 401,
        "": 401,
        f"X-Api-Key: {good.key}\r\nAuthorization: Bearer {good.key}\r\n": 400,
    }
    questions = [question(good.organization, key_lines, request) for request in REQUESTS for key_lines in lines]
    assert await asked(service, questions) == list(lines.values()) * len(REQUESTS)


async def test_a_wish_for_another_protocol_is_let_be(service: Service) -> None:
    """Caddy sends a client's wish along: the question is answered, and so is the next on the same connection."""
    good = await service.token("reports:read")
    key_lines = f"X-Api-Key: {good.key}\r\n"
    wishes = ["Upgrade: websocket\r\nSec-Websocket-Version: 13\r\nSec-Websocket-Key: x\r\n", "Upgrade: h2c\r\n", ""]
    lines = [f"{key_lines}Connection: Upgrade\r\n{wish}" if wish else key_lines for wish in wishes]
    assert await asked(service, [traefik(good.organization, each, "GET /") for each in lines * 2]) == [200] * 6


async def test_two_headers_of_one_name(service: Service) -> None:
    """Traefik sends two as two, Envoy as one with a comma; neither gets a yes."""
    good = await service.token("reports:read")
    twice = [
        traefik(good.organization, f"{name}{good.key}\r\n" * 2, "GET /")
        for name in ("X-Api-Key: ", "Authorization: Bearer ")
    ]
    joined = [f"X-Api-Key: {good.key},{good.key}\r\n", f"Authorization: Bearer {good.key},Bearer {good.key}\r\n"]
    assert await asked(service, twice) == [400, 400]
    assert await asked(service, [envoy(good.organization, each, "GET /") for each in joined]) == [401, 401]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/x?organization=OTHER", 200),
        ("/x?a=1&organization=OTHER", 400),
        ("/x&organization=OTHER", 400),
        ("/x?organization=OWN&organization=OWN", 400),
        ("/x?a=1&scope=reports:write", 403),
        ("/x?a=1&scope=reports:read", 200),
        ("/x?a=1&environment=PRODUCTION", 403),
        ("/x%26organization=OTHER?a=1;organization=OTHER", 200),
        ("/x?a=%26organization%3DOTHER&%6frganisation=OTHER", 200),
        ("/x?a=1&%6frganization=OTHER", 400),
        ("/x?a=" + "y" * 9000, 400),
    ],
)
async def test_a_query_of_a_client_behind_a_prefix(service: Service, target: str, status: int) -> None:
    """With a prefix a client can make the question harder, or none at all, and never about another organization."""
    good, other = await service.token("reports:read"), await service.organization()
    named = target.replace("OTHER", other).replace("OWN", good.organization)
    question = old_envoy(good.organization, f"X-Api-Key: {good.key}\r\n", f"GET {named}")
    assert await asked(service, [question]) == [status]
    foreign = await service.token("reports:read", organization=other)
    question = old_envoy(good.organization, f"X-Api-Key: {foreign.key}\r\n", f"GET {named}")
    assert (await asked(service, [question]))[0] in {400, 401}


async def test_the_pages_copy_what_the_answer_has(service: Service) -> None:
    """The names that Traefik and Envoy copy are those of the answer, and Traefik removes others' spellings."""
    good = await service.token("reports:read")
    async with kept_connection(service) as ask:
        status, headers = await ask(traefik(good.organization, f"X-Api-Key: {good.key}\r\n", "GET /"))
    assert status == 200
    ours = {name for name in headers if name.startswith("X-Entri-")}
    assert ours == {"X-Entri-Organization", "X-Entri-Token", "X-Entri-Kind", "X-Entri-Scopes"}
    copied = TRAEFIK["middlewares"]["ask-entri"]["forwardAuth"]["authResponseHeadersRegex"]
    others = {name.replace("-", "_") for name in ours} | {name.lower().replace("i-", "i_") for name in ours}
    assert all(re.search(copied, name) for name in ours | others)
    assert not any(re.search(copied, name) for name in headers.keys() - ours)
    (allowed,) = ENVOY_FILTERS["ext_authz"]["http_service"]["authorization_response"]["allowed_upstream_headers"][
        "patterns"
    ]
    assert {name for name in headers if name.lower().startswith(allowed["prefix"])} == ours
    removed = ENVOY_FILTERS["header_mutation"]["mutations"]["request_mutations"]
    assert {each["remove"] for each in removed} == {name.lower() for name in ours}
