"""What is asked over GraphQL: tokens issued, restricted in every way there is, and verified."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from tests.chaos.fleet import Node
from tests.chaos.history import ACCEPTED, FORBIDDEN, NO_ANSWER, UNAUTHORIZED
from tests.chaos.keep_alive import Answer, post

PAYLOAD: Final = """
    token { id } position userErrors { code message } enforcement { processes acknowledged waitedOut tookMs }
"""
CREATE: Final = """
mutation ($name: String!) {
  createToken(input: {name: $name, scopes: ["orders:read", "orders:write"]}) {
    token { id } secret userErrors { code message }
  }
}"""
REVOKE: Final = f"mutation ($id: ID!) {{ revokeToken(input: {{id: $id}}) {{ {PAYLOAD} }} }}"
NARROW: Final = f"""
mutation ($id: ID!) {{ updateToken(input: {{id: $id, scopes: ["orders:read"]}}) {{ {PAYLOAD} }} }}"""
EXPIRE: Final = f"""
mutation ($id: ID!, $expiresAt: DateTime!) {{
  updateToken(input: {{id: $id, expiresAt: $expiresAt}}) {{ {PAYLOAD} }}
}}"""
ROTATE: Final = f"""
mutation ($id: ID!, $overlap: Int!, $key: String!) {{
  rotateToken(input: {{id: $id, overlapSeconds: $overlap, idempotencyKey: $key}}) {{ secret {PAYLOAD} }}
}}"""
END_OVERLAP: Final = f"mutation ($id: ID!) {{ endRotationOverlap(input: {{id: $id}}) {{ {PAYLOAD} }} }}"
VERIFY: Final = """
query ($secret: String!, $scopes: [String!]!) {
  verifyToken(secret: $secret, requiredScopes: $scopes) { valid reason }
}"""
LIST: Final = "query { tokens(first: 20) { edges { node { id name status } } } }"


def request(key: str, document: str, variables: Mapping[str, object]) -> bytes:
    """Write an operation as a request."""
    return post("/graphql", key, orjson.dumps({"query": document, "variables": dict(variables)}))


def payload_of(answer: Answer) -> dict[str, Any] | None:
    """Read what an operation with one field answered; None where it is not known what it did."""
    if answer.status != ACCEPTED:
        assert answer.status in {NO_ANSWER, 503}, (answer.status, answer.body)
        return None
    body = orjson.loads(answer.body)
    if "errors" in body:
        raise AssertionError(body["errors"])
    (payload,) = body["data"].values()
    return dict(payload)


async def run(node: Node, key: str, document: str, /, **variables: object) -> tuple[Answer, dict[str, Any] | None]:
    """Run an operation at a process."""
    answer = await node.client.ask(request(key, document, variables))
    return answer, payload_of(answer)


def status_of(answer: Answer) -> int:
    """Say as a status what `verifyToken` said of a key."""
    if answer.status != ACCEPTED:
        return answer.status
    body = orjson.loads(answer.body)
    if "errors" in body:
        return 503
    said = body["data"]["verifyToken"]
    if said["valid"]:
        return ACCEPTED
    return FORBIDDEN if said["reason"] == "MISSING_SCOPE" else UNAUTHORIZED
