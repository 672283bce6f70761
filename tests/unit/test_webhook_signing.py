"""Signatures of webhooks: what the library of Standard Webhooks accepts, and what it does not."""

import base64
import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from events.envelope import Actor, ActorKind
from events.token_kinds import TokenKind
from events.tokens import TokenState
from service.secret_format import generate
from service.secret_text import SecretText
from service.webhook_signing import Message, generations, signature

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODY = json.dumps({"type": "TokenRevoked", "name": "Zoë 🗝"}, ensure_ascii=False).encode()


def consumer(secret: SecretText) -> Webhook:
    """Configure a consumer as the documentation says."""
    return Webhook("whsec_" + base64.b64encode(secret.reveal().encode("utf-8")).decode())


def headers(message: Message, value: str) -> dict[str, str]:
    """Write the headers of a delivery."""
    return {"webhook-id": message.id, "webhook-timestamp": str(message.timestamp), "webhook-signature": value}


@pytest.mark.parametrize("body", [b"{}", BODY, b'{"a": ' + b"[" * 50 + b"]" * 50 + b"}"])
def test_the_library_accepts_it(body: bytes) -> None:
    """A consumer with the secret reads the payload, whichever of two signatures is its own."""
    old, new = generate("entri_", os.urandom), generate("entri_", os.urandom)
    message = Message(id="msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", timestamp=int(time.time()), payload=body)
    both = f"{signature(new, message)} {signature(old, message)}"
    for secret in (old, new):
        assert consumer(secret).verify(body, headers(message, both)) == json.loads(body)
        assert consumer(secret).verify(body, headers(message, signature(secret, message))) == json.loads(body)


def test_it_is_what_the_library_makes() -> None:
    """Both sign alike, so any implementation of the specification will do."""
    secret, at = generate("entri_", os.urandom), datetime.now(UTC)
    message = Message(id="msg_1", timestamp=int(at.timestamp()), payload=BODY)
    assert signature(secret, message) == consumer(secret).sign(msg_id="msg_1", timestamp=at, data=BODY.decode())


def test_another_secret_id_time_or_payload_is_refused() -> None:
    """Nothing that was signed can be exchanged."""
    secret, now = generate("entri_", os.urandom), int(time.time())
    message = Message(id="msg_1", timestamp=now, payload=BODY)
    value = signature(secret, message)
    for presented, body in (
        (Message(id="msg_2", timestamp=now, payload=BODY), BODY),
        (Message(id="msg_1", timestamp=now - 1, payload=BODY), BODY),
        (message, BODY + b" "),
    ):
        with pytest.raises(WebhookVerificationError):
            consumer(secret).verify(body, headers(presented, value))
    with pytest.raises(WebhookVerificationError):
        consumer(generate("entri_", os.urandom)).verify(BODY, headers(message, value))


def test_a_message_does_not_print_its_payload() -> None:
    """What is delivered may be anybody's business, but not the logs'."""
    assert "Zoë" not in repr(Message(id="msg_1", timestamp=1, payload=BODY))


def test_both_secrets_sign_while_they_overlap() -> None:
    """The newest comes first; at the end of the overlap it signs alone."""
    token = TokenState(
        id="tok_1",
        organization="org_1",
        kind=TokenKind.API_SECRET,
        name="x",
        hint="x",
        scopes=(),
        application_id=None,
        created_at=NOW,
        created_by=Actor(kind=ActorKind.SYSTEM, id="operator"),
        expires_at=None,
        generation=3,
        overlap_ends_at=NOW + timedelta(seconds=1),
    )
    assert generations(token, NOW) == (3, 2)
    assert generations(token, NOW + timedelta(seconds=1)) == (3,)
    assert generations(token._replace(overlap_ends_at=None), NOW) == (3,)
