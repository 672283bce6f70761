"""`entri keys` against services that run: keys are replaced while they are in use, and nothing fails meanwhile."""

import asyncio
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import asyncpg

from service import embedded_postgres, keyring
from service.seals import seal_row
from service.secret_text import SecretText
from service.vault import Keys
from tests.cli.database_values import value
from tests.cli.processes import Answer, Process, Service, ask, create_token, entri, eventually
from tests.places import data_directory

CREATE = """
mutation($key: String!) { createToken(input: {name: "a token", idempotencyKey: $key}) { token { id } secret } }
"""
APPLICATION = """
mutation { createApplication(input: {name: "a site", environment: PRODUCTION, secretPolicy: SHOW_ONCE}) {
  application { clientSecret { id } } secret } }
"""
BOUNDED_S = 20.0
MANY_SEALS = 20_000
UNDER_OLD = "select count(*) from vault_seals where key_id = 'k1'"
STILL_OLD = "select count(*) from vault_secrets where pepper_id = 'k1'"
ORGANIZATION = "select id from organizations"
REVOKED = "select count(*) from events where type = 'TokenRevoked' and actor = 'operator'"
ROWS = "insert into vault_seals select r.* from json_populate_recordset(null::vault_seals, $1) r"


@dataclass(kw_only=True)
class Load:
    """Clients that create tokens and verify them, at every service in turn; each request that fails is kept."""

    urls: list[str]
    token: str
    done: int = 0
    failures: list[str] = field(default_factory=list)
    enough: Event = field(default_factory=Event)

    def run(self) -> None:
        """Create at one service, and verify at all of them, until it is enough."""
        number = 0
        while not self.enough.is_set():
            created = created_with(self.urls[number % len(self.urls)], self.token, f"load-{id(self)}-{number}")
            number += 1
            secret = None if created.status != 200 else created.data["createToken"]["secret"]
            answers = [created, *(ask(f"{url}/verify", key=secret) for url in self.urls if secret)]
            self.failures += [answer.text for answer in answers if answer.status != 200]
            self.done += len(answers)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Let them ask while the block runs."""
        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(self.run) for _ in range(2)]
            try:
                before = self.done
                eventually(lambda: self.done > before + 10)
                yield
                before = self.done
                eventually(lambda: self.done > before + 10)
            finally:
                self.enough.set()
        for each in running:
            each.result()


def created_with(url: str, token: str, key: str) -> Answer:
    """Create a token with an idempotency key."""
    return ask(f"{url}/graphql", key=token, body={"query": CREATE, "variables": {"key": key}})


def bootstrap_token(service: Service) -> str:
    """Read the first token."""
    line = service.out.wait_for("bootstrap token: ")
    assert line is not None
    return line.split(": ")[1].strip()


def drop_line(path: Path, key_id: str) -> None:
    """Take a key out of a file, as an operator does."""
    kept = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith(f"{key_id}:")]
    draft = path.with_name("draft")
    draft.touch(0o600)
    draft.write_text("".join(kept))
    draft.replace(path)


def status(data_dir: Path) -> str:
    """Ask what there is to know of keys."""
    ended = entri("keys", "status", "--data-dir", data_dir)
    assert ended.code == 0, ended.err
    return ended.out


def holds(what: str, text: str) -> bool:
    """Say whether a text holds a pattern, on one line."""
    return re.search(what, text, re.MULTILINE) is not None


def test_the_key_encryption_key_is_rotated_under_load() -> None:
    """Two services go on without a failed request; then the old key leaves the file and nothing is missed."""
    with data_directory() as data_dir, Service(data_dir) as one, Service(data_dir) as other:
        token = bootstrap_token(one)
        secret = created_with(one.url, token, "before").data["createToken"]["secret"]
        load = Load(urls=[one.url, other.url], token=token)
        with load.going_on(), Process("keys", "rotate", "kek", "--data-dir", data_dir) as rotating:
            assert rotating.err.wait_for("put k2 into") is not None
            began = time.monotonic()
            ended = rotating.end()
            assert time.monotonic() - began < BOUNDED_S
        assert (ended.code, load.failures) == (0, [])
        path = data_dir / "kek.key"
        said = f"everything is sealed under k2. k1 is not needed any more: take its line out of {path}, on every host\n"
        assert ended.out == said
        assert "every process writes under k2" in ended.err
        assert holds(r"^  k1: superseded; nothing is under it$", status(data_dir))

        drop_line(path, "k1")
        eventually(lambda: "k1" not in status(data_dir).split("key-encryption keys")[1] or None)
        for url in (one.url, other.url):
            assert created_with(url, token, "before").data["createToken"]["secret"] == secret
            assert created_with(url, token, f"after {url}").data["createToken"]["secret"]
        one.stop()
        other.stop()
        with Service(data_dir) as again:
            assert created_with(again.url, token, "before").data["createToken"]["secret"] == secret


def test_a_rotation_that_was_killed_is_gone_on_with() -> None:
    """Killed when it has begun to seal, the next run seals the rest under the same key, and all of it opens."""
    with data_directory() as data_dir, Service(data_dir) as service:
        assert bootstrap_token(service)
        with owner(data_dir) as dsn:
            keks = keyring.load(data_dir / "kek.key", "the file")
            keys = Keys(peppers=keks, keks=keks, data=keks, prefix="entri_", random_bytes=os.urandom)
            asyncio.run(sealed(dsn, keys))
            with Process("keys", "rotate", "kek", "--data-dir", data_dir) as killed:
                eventually(lambda: number(dsn, UNDER_OLD) < MANY_SEALS)
                killed._process.kill()
                killed.end()
            assert 0 < number(dsn, UNDER_OLD) < MANY_SEALS
            ended = entri("keys", "rotate", "kek", "--data-dir", data_dir)
            assert ended.code == 0, ended.err
            assert "going on with k2" in ended.err
            assert number(dsn, UNDER_OLD) == 0
            assert keyring.load(data_dir / "kek.key", "the file").ids == ("k2", "k1")


async def sealed(dsn: str, keys: Keys) -> None:
    """Seal many secrets."""
    rows = [
        seal_row(keys, SecretText(f"secret {n}"), token_id=f"tok_{n:09d}", generation=0, organization="org_1")
        for n in range(MANY_SEALS)
    ]
    connection = await asyncpg.connect(dsn)
    await connection.execute(ROWS, json.dumps(rows))
    await connection.close()


def test_a_pepper_is_rotated_drained_and_retired() -> None:
    """Secrets move as they are presented; what is left ends by force, passwords too, and the old pepper can go."""
    with data_directory() as data_dir, Service(data_dir) as one, Service(data_dir) as other, owner(data_dir) as dsn:
        token = bootstrap_token(one)
        used, unused = [create_token(one.url, token).data["createToken"] for _ in range(2)]
        application = ask(f"{one.url}/graphql", key=token, body={"query": APPLICATION}).data["createApplication"]
        member = owner_of(data_dir, text(dsn, ORGANIZATION))
        load = Load(urls=[one.url, other.url], token=token)
        with load.going_on():
            ended = entri("keys", "rotate", "pepper", "--data-dir", data_dir)
        assert (ended.code, load.failures) == (0, []), ended.err
        assert holds(r"^  k2: 3 processes write under it; ", ended.out)
        refused = entri("keys", "retire", "pepper", "k2", "--force", "--data-dir", data_dir)
        assert (refused.code, "first run entri keys rotate pepper" in refused.err) == (1, True)

        assert ask(f"{other.url}/verify", key=used["secret"]).status == 200
        eventually(lambda: pepper_of(dsn, used) == "k2" or None)
        left = number(dsn, STILL_OLD) - 1
        told = entri("keys", "retire", "pepper", "k1", "--data-dir", data_dir)
        assert (told.code, told.out) == (1, "")
        would = f"revoke {left} token{'s' * (left > 1)} and reset 1 client secret"
        assert f"--force would {would}; nothing was changed" in told.err
        assert number(dsn, REVOKED) == 0

        forced = entri("keys", "retire", "pepper", "k1", "--force", "--data-dir", data_dir)
        assert forced.code == 0, forced.err
        gone = f"k1 is not needed any more: take its line out of {data_dir / 'pepper.key'}, on every host"
        revoked = f"revoked {left} token{'s' * (left > 1)}, ended 0 overlaps"
        client_secret = application["application"]["clientSecret"]["id"]
        reset = f"reset 1 client secret: nobody has the new one until its owner resets it\n{client_secret}"
        ended_password = f"ended 1 password: entri admin member reset-password, for each of\n{member}"
        assert forced.out == f"{revoked}\n{reset}\n{ended_password}\n{gone}\n"
        assert number(dsn, REVOKED) == left
        for key in (unused["secret"], application["secret"]):
            assert ask(f"{other.url}/verify", key=key).status == 401
        drop_line(data_dir / "pepper.key", "k1")
        eventually(lambda: "k1" not in status(data_dir).split("key-encryption keys")[0] or None)
        for url in (one.url, other.url):
            assert [ask(f"{url}/verify", key=key).status for key in (used["secret"], token)] == [200, 200]


def test_nothing_is_written_before_every_host_has_the_key() -> None:
    """A process whose host has no copy of the file yet is named, and the rotation goes on when it has one."""
    with data_directory() as data_dir, Service(data_dir) as here:
        copy = data_dir.parent / "copy.key"
        shutil.copy2(data_dir / "kek.key", copy)
        with Service(data_dir, "--kek-file", copy, "--node-name", "elsewhere") as there:
            token = bootstrap_token(here)
            hindered = entri("keys", "rotate", "kek", "--wait", 3, "--data-dir", data_dir)
            assert hindered.code == 1
            assert (
                f"there still are processes that cannot read k2 yet: elsewhere (process {there.pid}) (on"
                in hindered.err
            )
            assert holds(r"^  k2: not read by every process yet; nothing is under it$", status(data_dir))
            assert holds(rf"^  elsewhere \(process {there.pid}\): lacks kek/k2$", status(data_dir))
            secret = created_with(here.url, token, "a key").data["createToken"]["secret"]
            shutil.copy2(data_dir / "kek.key", copy)
            ended = entri("keys", "rotate", "kek", "--data-dir", data_dir)
            assert ended.code == 0, ended.err
            assert "going on with k2" in ended.err
            assert created_with(there.url, token, "a key").data["createToken"]["secret"] == secret


def test_one_rotation_at_a_time() -> None:
    """While one goes on another is refused, and puts no key into the file."""
    with data_directory() as data_dir, Service(data_dir), owner(data_dir) as dsn, asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(dsn))
        runner.run(connection.execute("select pg_advisory_lock(4270010)"))
        ended = entri("keys", "rotate", "pepper", "--data-dir", data_dir)
        runner.run(connection.close())
        assert (ended.code, "another rotation of keys is going on" in ended.err) == (1, True)
        assert keyring.load(data_dir / "pepper.key", "the file").ids == ("k1",)


def owner_of(data_dir: Path, organization: str) -> str:
    """Make a member, and return its id."""
    person = ("--email", "grace@example.com", "--name", "Grace", "--role", "owner")
    ended = entri("admin", "member", "create", "--organization", organization, *person, "--data-dir", data_dir)
    assert ended.code == 0, ended.err
    with owner(data_dir) as dsn:
        return text(dsn, "select member_id from people")


@contextmanager
def owner(data_dir: Path) -> Iterator[str]:
    """Use the embedded database as its owner."""
    postgres = embedded_postgres.start(data_dir)
    try:
        yield postgres.owner_dsn
    finally:
        postgres.release()


def number(dsn: str, query: str) -> int:
    """Ask the database for a number."""
    counted = asyncio.run(value(dsn, query))
    assert isinstance(counted, int)
    return counted


def text(dsn: str, query: str) -> str:
    """Ask the database for a text."""
    found = asyncio.run(value(dsn, query))
    assert isinstance(found, str)
    return found


def pepper_of(dsn: str, created: dict[str, Any]) -> object:
    """Ask under which pepper a token's secret is."""
    token_id = created["token"]["id"]
    return asyncio.run(value(dsn, f"select pepper_id from vault_secrets where token_id = '{token_id}'"))
