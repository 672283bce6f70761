"""The documents that several tests send, and what they send them with."""

from typing import Final

from graphql import build_schema

from service.api.schema import make_schema
from tests.api.conftest import Issued, Json, Service

SCHEMA: Final = build_schema(make_schema().as_str())
QUERIES: Final = SCHEMA.query_type.fields if SCHEMA.query_type else {}
MUTATIONS: Final = SCHEMA.mutation_type.fields if SCHEMA.mutation_type else {}
TOKEN = """
fragment Shown on Token {
  id kind name hint status scopes signsWebhooks createdAt createdBy { id kind displayName } expiresAt
  lastUsedAt useCount rotatedAt revokedAt revokedReason
  overlap { previousHint previousLastUsedAt endsAt newSecretUsedAt }
}
"""
CREATE = TOKEN + (
    "mutation ($input: CreateTokenInput!) { createToken(input: $input) "
    "{ token { ...Shown } secret position userErrors { code message field } } }"
)
ROTATE = TOKEN + (
    "mutation ($input: RotateTokenInput!) { rotateToken(input: $input) "
    "{ token { ...Shown } secret position enforcement { tookMs } userErrors { code field } } }"
)
SHOW = TOKEN + "query ($id: ID!) { token(id: $id) { ...Shown } }"


APPLICATION = """
fragment App on Application {
  id name environment secretPolicy createdAt clientSecret { id kind name hint status scopes }
}
"""
CREATE_APPLICATION = APPLICATION + (
    "mutation ($input: CreateApplicationInput!) { createApplication(input: $input) "
    "{ application { ...App } secret position userErrors { code field } } }"
)
UPDATE_APPLICATION = APPLICATION + (
    "mutation ($input: UpdateApplicationInput!) { updateApplication(input: $input) "
    "{ application { ...App } position userErrors { code field } } }"
)
DELETE_APPLICATION = (
    "mutation ($input: DeleteApplicationInput!) { deleteApplication(input: $input) "
    "{ deletedApplicationId position enforcement { processes } userErrors { code field } } }"
)
REVEAL = "mutation ($input: RevealSecretInput!) { revealSecret(input: $input) { secret userErrors { code field } } }"
DESIGNATE = TOKEN + (
    "mutation ($input: DesignateWebhookSignerInput!) { designateWebhookSigner(input: $input) "
    "{ token { ...Shown } position userErrors { code field } } }"
)
OF_APPLICATIONS = {
    "createApplication": CREATE_APPLICATION,
    "updateApplication": UPDATE_APPLICATION,
    "deleteApplication": DELETE_APPLICATION,
    "revealSecret": REVEAL,
    "designateWebhookSigner": DESIGNATE,
}


def change(mutation: str, fields: str = "") -> str:
    """Write the document of a mutation without a secret in its payload."""
    name = mutation[0].upper() + mutation[1:]
    payload = f"{{ token {{ ...Shown }} position enforcement {{ tookMs }} {fields} userErrors {{ code field }} }}"
    return f"{TOKEN} mutation ($input: {name}Input!) {{ {mutation}(input: $input) {payload} }}"


async def create(service: Service, by: Issued, **given: object) -> Json:
    """Create a token and return the payload."""
    answer = await service.gql(by.key, CREATE, {"input": {"name": "ci", "scopes": ["projects:read"], **given}})
    payload: Json = answer.data["createToken"]
    assert payload["userErrors"] == []
    return payload


async def do(service: Service, by: Issued, mutation: str, **given: object) -> Json:
    """Change a token and return the payload."""
    document = ROTATE if mutation == "rotateToken" else OF_APPLICATIONS.get(mutation) or change(mutation)
    payload: Json = (await service.gql(by.key, document, {"input": given})).data[mutation]
    return payload
