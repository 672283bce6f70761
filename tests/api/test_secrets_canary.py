"""Secrets and idempotency keys in no sink: a process lives through everything, errors too, and then all is searched."""

import asyncio
import base64
import re
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from aiohttp import ClientSession

from service import embedded_postgres
from service.postgres_programs import owner_of_cluster, runnable_programs
from tests.api.conftest import Answer, Issued, Json, eventually, unknown_key
from tests.api.documents import CREATE, OF_APPLICATIONS, ROTATE, change

ROOT = Path(__file__).parents[2]


@dataclass(slots=True, kw_only=True)
class Sinks:
    """The running process, the secrets that it was told or told us, and all that it said."""

    url: str
    session: ClientSession
    secrets: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)

    async def send(self, path: str, key: str, body: object = None, **headers: str) -> Answer:
        """Send a request and keep the whole answer."""
        method = "GET" if body is None else "POST"
        given = {"X-API-Key": key, **headers}
        async with self.session.request(method, self.url + path, json=body, headers=given) as answer:
            text = await answer.text()
            self.said[f"answer {len(self.said)}"] = f"{answer.raw_headers!r} {text}"
            return Answer(status=answer.status, headers=answer.headers, text=text)

    async def command(self, by: Issued, mutation: str, **given: object) -> Json:
        """Carry out a mutation; what it hands out is taken from the answer, once, before that is kept."""
        known = {"createToken": CREATE, "rotateToken": ROTATE, **OF_APPLICATIONS}
        document = known.get(mutation) or change(mutation)
        answer = await self.send("/graphql", by.key, {"query": document, "variables": {"input": given}})
        payload: Json = answer.data[mutation]
        if secret := payload.get("secret"):
            self.secrets.append(secret)
            kept = self.said.popitem()
            self.said[kept[0]] = kept[1].replace(secret, "", 1)
        return payload


def forms(secret: str) -> Iterator[bytes]:
    """Write what would give a secret away: its middle as it is, in hexadecimal, and in base64 wherever it begins."""
    middle = secret[10:-4].encode() if secret.startswith("entri_") else secret.encode()
    yield middle
    yield middle.hex().encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + middle)[4 if shift else 0 :].rstrip(b"=")[:-2]
        yield encoded
        yield encoded.translate(bytes.maketrans(b"+/", b"-_"))


async def test_no_sink_holds_a_secret(tmp_path: Path) -> None:
    """Logs, metrics, answers, events and the whole database are searched for each secret in each form."""
    async with process(tmp_path) as (running, sinks):
        bootstrap = re.search("bootstrap token: (entri_[A-Za-z0-9]+)", (tmp_path / "stdout").read_text())
        assert bootstrap
        admin = Issued(id="", key=bootstrap[1], organization="")
        sinks.secrets.append(admin.key)
        await live(sinks, admin)
        await err(sinks, admin)
        await break_inside(sinks, admin, tmp_path)
        for path in ("/metrics", "/readyz?verbose", "/livez"):
            await sinks.send(path, "")
        sinks.said["dump"] = dump(tmp_path)
        sinks.said["server log"] = (tmp_path / "data" / "postgresql" / "server.log").read_text()
        running.send_signal(signal.SIGTERM)
        assert await running.wait() == 0
    sinks.said["stdout"] = (tmp_path / "stdout").read_text().replace(bootstrap[0], "", 1)
    sinks.said["stderr"] = (tmp_path / "stderr").read_text()
    assert "internal_error" in sinks.said["stderr"], "the process was to break, and to say so"
    assert "TokenRevoked" in sinks.said["dump"]
    needles = {form: secret[:12] for secret in sinks.secrets for form in forms(secret)}
    found = {(where, needles[n]) for where, text in sinks.said.items() for n in needles if n in text.encode()}
    assert found == set()


@asynccontextmanager
async def process(home: Path) -> AsyncIterator[tuple[Process, Sinks]]:
    """Run the service as its users do, telling all it can."""
    argv = ["-m", "service", "serve", "--port", "0", "--data-dir", str(home / "data"), "--log-level", "debug"]
    with (home / "stdout").open("wb") as stdout, (home / "stderr").open("wb") as stderr:
        running = await asyncio.create_subprocess_exec(
            sys.executable, *argv, "--usage-window-s", "0", cwd=ROOT, stdout=stdout, stderr=stderr
        )

    async def serving() -> str | None:
        assert running.returncode is None, (home / "stderr").read_text()
        found = re.search("serving (http://.*)/graphql", (home / "stderr").read_text())
        return found and found[1]

    try:
        async with ClientSession() as session:
            yield running, Sinks(url=await eventually(serving), session=session)
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
        await asyncio.to_thread(remove, home)


def remove(home: Path) -> None:
    """Stop the server if a kill has left it, and remove its cluster: root's is outside of what pytest clears away."""
    postgres = embedded_postgres.start(home / "data")
    postgres.release()
    shutil.rmtree(postgres.cluster_path)


async def live(sinks: Sinks, admin: Issued) -> None:
    """Go through a whole life with idempotency keys, and read all of its history."""
    sinks.secrets += ["idempotent-canary-1", "idempotent-canary-2"]
    made = await sinks.command(admin, "createToken", name="ci", scopes=["a:b"], idempotencyKey="idempotent-canary-1")
    again = await sinks.command(admin, "createToken", name="ci", scopes=["a:b"], idempotencyKey="idempotent-canary-1")
    assert again["secret"] == made["secret"]
    token = made["token"]["id"]
    rotated = await sinks.command(
        admin, "rotateToken", id=token, overlapSeconds=60, idempotencyKey="idempotent-canary-2"
    )
    for key in (made["secret"], rotated["secret"]):
        assert (await sinks.send("/verify", key)).status == 200
        document = "query ($s: String!) { verifyToken(secret: $s) { valid reason tokenId token { hint } } }"
        assert (await sinks.send("/graphql", admin.key, {"query": document, "variables": {"s": key}})).status == 200
    await sinks.command(admin, "updateToken", id=token, name="renamed")
    await sinks.command(admin, "endRotationOverlap", id=token)
    await sinks.command(admin, "revokeToken", id=token, reason="done")
    await keep(sinks, admin)
    history = "{ events(first: 100) { nodes { type entry payload } } tokens { nodes { id name hint } } }"

    async def complete() -> bool:
        answer = await sinks.send("/graphql", admin.key, {"query": history})
        expected = ("TokenUsed", "TokenRotated", "TokenRevoked", "ApplicationUpdated", "WebhookSignerDesignated")
        return all(name in answer.text for name in expected)

    assert await eventually(complete)


async def keep(sinks: Sinks, admin: Issued) -> None:
    """Have secrets kept: client secrets that can be shown again, and API secrets that sign."""
    sinks.secrets += ["idempotent-canary-3"]
    given = {"environment": "PRODUCTION", "secretPolicy": "RECOVERABLE", "idempotencyKey": "idempotent-canary-3"}
    made, again = [await sinks.command(admin, "createApplication", name="kept", **given) for _ in range(2)]
    assert again["secret"] == made["secret"]
    application, token = made["application"]["id"], made["application"]["clientSecret"]["id"]
    rotated = await sinks.command(admin, "rotateToken", id=token, overlapSeconds=60)
    for key in (made["secret"], rotated["secret"]):
        answer = await sinks.send("/verify?environment=PRODUCTION", key)
        assert (answer.status, answer.headers["X-Entri-Application"]) == (200, application)
        assert (await sinks.send("/verify?environment=SANDBOX", key)).status == 403
    await sinks.command(admin, "updateApplication", id=application, name="renamed")
    for mutation, more in (("deleteApplication", {"confirmation": "renamed"}), ("revealSecret", {})):
        refused = {"query": OF_APPLICATIONS[mutation], "variables": {"input": {"id": application, **more}}}
        assert (await sinks.send("/graphql", admin.key, refused)).codes == ["REAUTHENTICATION_REQUIRED"]
    secrets = [await sinks.command(admin, "createToken", name="signs", kind="API_SECRET") for _ in range(2)]
    first, second = [secret["token"]["id"] for secret in secrets]
    await sinks.command(admin, "rotateToken", id=second, overlapSeconds=60)
    await sinks.command(admin, "designateWebhookSigner", id=second)
    await sinks.command(admin, "revokeToken", id=first, confirmation="signs")


async def err(sinks: Sinks, admin: Issued) -> None:
    """Present secrets wherever they do not belong, in requests that are wrong in every layer."""
    secret = unknown_key()
    sinks.secrets.append(secret)
    for query in (
        f'{{ verifyToken(secret: "{secret}") {{ valid }}',
        f"{{ verifyToken(secret: {secret}) {{ valid }} }}",
        f'{{ verifyToken(secret: "x", requiredScopes: "{secret}") {{ valid }} }}',
        f'{{ verifyToken(secret: "x", dryRun: "{secret}") {{ valid }} }}',
        f'{{ tokens(after: "{secret}") {{ totalCount }} }}',
        f'{{ events(filter: {{occurredFrom: "{secret}", types: ["{secret}"]}}) {{ nodes {{ id }} }} }}',
        f'{{ token(id: "{secret}") {{ id }} node(id: "{secret}") {{ id }} }}',
        f'mutation {{ revokeToken(input: {{id: "{secret}"}}) {{ userErrors {{ message }} }} }}',
        f'mutation {{ createToken(input: {{name: "{secret * 2}"}}) {{ userErrors {{ message }} }} }}',
        f'mutation {{ createToken(input: {{name: "x", scopes: ["{secret}"]}}) {{ userErrors {{ message }} }} }}',
        f'mutation {{ createToken(input: {{name: "x", expiresAt: "{secret}"}}) {{ userErrors {{ message }} }} }}',
    ):
        await sinks.send("/graphql", admin.key, {"query": query})
    await sinks.send(
        "/graphql", admin.key, {"query": "query ($s: Int) { viewer { scopes } }", "variables": {"s": secret}}
    )
    await sinks.send("/graphql", secret, {"query": "{ viewer { scopes } }"})
    await sinks.send("/graphql", secret, {"query": "{ viewer { scopes } }"}, Authorization=f"Bearer {secret}")
    await sinks.send("/graphql", admin.key, [secret])
    await sinks.send("/verify", secret, Authorization=f"Bearer {secret}")
    for path in (f"/verify?organization={secret}", f"/verify?scope={secret}", f"/verify?{secret}=x", f"/{secret}"):
        await sinks.send(path, admin.key)
    for fault in (b"\0", b" " * 9_000 + b"x", b"\r\nno colon", b"\r\nContent-Length: x"):
        await send_raw(sinks, b"GET /verify HTTP/1.1\r\nHost: x\r\nX-API-Key: " + secret.encode() + fault + b"\r\n\r\n")
    await send_raw(sinks, secret.encode() + b" / HTTP/1.1\r\n\r\n")


async def send_raw(sinks: Sinks, request: bytes) -> None:
    """Send what no client would; what the server tells its sender of it is between the two of them."""
    where = urlsplit(sinks.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(request)
    assert b" 400 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def break_inside(sinks: Sinks, admin: Issued, home: Path) -> None:
    """Let the service meet a verifier that is none while it holds the secret."""
    made = await sinks.command(admin, "createToken", name="broken")
    postgres = await asyncio.to_thread(embedded_postgres.start, home / "data")
    try:
        connection = await asyncpg.connect(postgres.owner_dsn)
        statement = "update vault_secrets set verifier = '$argon2id$none' where token_id = $1"
        await connection.execute(statement, made["token"]["id"])
        await connection.close()
    finally:
        await asyncio.to_thread(postgres.release)
    for path, body in (("/verify", None), ("/graphql", {"query": "{ viewer { scopes } }"})):
        assert (await sinks.send(path, made["secret"], body)).status == 500
    document = "query ($s: String!) { verifyToken(secret: $s) { valid } }"
    answer = await sinks.send("/graphql", admin.key, {"query": document, "variables": {"s": made["secret"]}})
    assert answer.codes == ["INTERNAL"]


def dump(home: Path) -> str:
    """Dump the database."""
    account = owner_of_cluster(home / "data" / "postgresql")
    postgres = embedded_postgres.start(home / "data")
    try:
        dumped = account.run(runnable_programs(account) / "pg_dump", "--dbname", postgres.owner_dsn)
    finally:
        postgres.release()
    assert dumped.returncode == 0, dumped.stderr
    return dumped.stdout
