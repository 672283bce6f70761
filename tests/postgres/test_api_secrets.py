"""API secrets in the database: three at most, whoever else creates some, and one that signs webhooks for consumers."""

import asyncio
import base64
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from events.api_secrets import MOST_LIVE, DesignateWebhookSigner
from events.refusals import RefusalCode, Refused
from events.token_kinds import TokenKind
from events.tokens import CreateToken, EndRotationOverlap, RevokeToken, RotateToken
from service.authorization import operator
from service.issuing import Done
from service.sealing import SealError
from service.webhook_signing import Message, NoSignerError, WebhookSigning
from tests.postgres.conftest import Database
from tests.postgres.vaults import Vault, open_vault

ORGANIZATION = "org_1"
BODY = b'{"type":"TokenCreated"}'


def creation(name: str = "a secret") -> CreateToken:
    """Ask for an API secret."""
    return CreateToken(token_id="", kind=TokenKind.API_SECRET, name=name, hint="", scopes=())


async def issued(vault: Vault, name: str = "a secret") -> Done:
    """Issue an API secret."""
    done = await vault.commands.create(operator(ORGANIZATION), creation(name))
    assert isinstance(done, Done)
    return done


async def changed(vault: Vault, command: Any) -> Done:  # noqa: ANN401 -- any command
    """Carry a command out."""
    commands, caller = vault.commands, operator(ORGANIZATION)
    if isinstance(command, RotateToken):
        done = await commands.rotate(caller, command)
    elif isinstance(command, DesignateWebhookSigner):
        done = await commands.designate(caller, command)
    else:
        done = await commands.change(caller, command)
    assert isinstance(done, Done), done
    return done


def secret_of(done: Done) -> str:
    """Take the secret that was issued."""
    assert done.secret is not None
    return done.secret.reveal()


async def test_fifty_racing_creations_end_with_three(database: Database) -> None:
    """From two writers on two connections: three succeed, all others learn of the limit, and one signs."""
    async with AsyncExitStack() as stack:
        vaults = [await stack.enter_async_context(open_vault(database)) for _ in range(2)]
        outcomes = await asyncio.gather(
            *(vaults[number % 2].commands.create(operator(ORGANIZATION), creation(f"{number}")) for number in range(50))
        )
        codes = Counter(refusal.code for one in outcomes if isinstance(one, Refused) for refusal in one.refusals)
        assert sum(isinstance(one, Done) for one in outcomes) == MOST_LIVE == 3
        assert codes == {RefusalCode.LIMIT_REACHED: 47}
        rows = await vaults[0].pool.fetch("select kind, designation, revoked_at from tokens")
        assert [row["kind"] for row in rows] == ["API_SECRET"] * 3
        assert sorted(row["designation"] or 0 for row in rows) == [0, 0, 1]
        kept = "select (select count(*) from vault_seals) seals, (select count(*) from vault_secrets) secrets"
        assert dict(await vaults[0].pool.fetchrow(kept) or {}) == {"seals": 3, "secrets": 3}


def signing(vault: Vault, *, later: timedelta = timedelta()) -> WebhookSigning:
    """Sign with a process's keys, now or later."""
    return WebhookSigning(pool=vault.pool, keys=vault.keys, clock=lambda: datetime.now(UTC) + later)


async def accepted(webhooks: WebhookSigning, *secrets: str) -> list[bool]:
    """Sign a message and say which consumers accept it."""
    message = Message(id="msg_1", timestamp=int(time.time()), payload=BODY)
    value = await webhooks.sign(ORGANIZATION, message)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(message.timestamp), "webhook-signature": value}
    return [is_accepted(secret, headers) for secret in secrets]


def is_accepted(secret: str, headers: dict[str, str]) -> bool:
    """Say whether a consumer with a secret accepts a delivery."""
    try:
        Webhook("whsec_" + base64.b64encode(secret.encode()).decode()).verify(BODY, headers)
    except WebhookVerificationError:
        return False
    return True


async def test_the_one_designated_signs(database: Database) -> None:
    """The first signs until another is chosen; consumers of the others accept nothing of it."""
    async with open_vault(database) as vault:
        webhooks = signing(vault)
        with pytest.raises(NoSignerError):
            await accepted(webhooks)
        first, second = await issued(vault), await issued(vault)
        keys = secret_of(first), secret_of(second)
        assert await accepted(webhooks, *keys) == [True, False]
        await changed(vault, DesignateWebhookSigner(token_id=second.token_id))
        assert await accepted(webhooks, *keys) == [False, True]
        await changed(vault, RevokeToken(token_id=second.token_id, is_forced=True))
        with pytest.raises(NoSignerError):
            await accepted(webhooks)


async def test_both_secrets_sign_while_they_overlap(database: Database) -> None:
    """Until the overlap ends by itself, is ended, or another rotation ends it; each seal goes with its secret."""
    async with open_vault(database) as vault:
        first = await issued(vault)
        rotation = RotateToken(token_id=first.token_id, hint="", overlap_s=60)
        keys = [secret_of(first), secret_of(await changed(vault, rotation))]
        assert await accepted(signing(vault), *keys) == [True, True]
        assert await accepted(signing(vault, later=timedelta(seconds=60)), *keys) == [False, True]
        keys.append(secret_of(await changed(vault, rotation)))
        assert await accepted(signing(vault), *keys) == [False, True, True]
        await changed(vault, EndRotationOverlap(token_id=first.token_id))
        assert await accepted(signing(vault), *keys) == [False, False, True]
        keys.append(secret_of(await changed(vault, replace(rotation, overlap_s=0))))
        assert await accepted(signing(vault), *keys) == [False, False, False, True]
        assert [row["generation"] for row in await vault.pool.fetch("select generation from vault_seals")] == [3]


async def test_a_seal_that_was_swapped_signs_nothing(database: Database) -> None:
    """A writer of the database cannot have webhooks signed with another secret: the row is named, nothing is signed."""
    async with open_vault(database) as vault, database.owner() as owner:
        first, second = await issued(vault), await issued(vault)
        await owner.execute(
            "update vault_seals s set nonce = o.nonce, ciphertext = o.ciphertext from vault_seals o "
            "where s.token_id = $1 and o.token_id = $2",
            first.token_id,
            second.token_id,
        )
        with pytest.raises(SealError, match=first.token_id):
            await accepted(signing(vault))
