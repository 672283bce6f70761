"""Documents that sign in: told from all others, with passwords as variables only, and what changes the cookie."""

import time

import pytest
from graphql import GraphQLSchema, build_schema

from service.api.documents import SIGN_IN_CHARACTERS, SIGN_IN_DOCUMENTS, Documents, Operation, Prepared, SignIns
from service.api.limits import Limits
from service.pacing import DenialsOverloadError, Pace

PASSWORD = "correct horse battery staple"
INPUT = "($input: SignInInput!)"


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """Give a schema with the mutations of a session and another."""
    return build_schema("""
        type Query { viewer: Viewer }
        type Viewer { scopes: [String!]! }
        input SignInInput { email: String!, password: String! }
        input ChangePasswordInput { currentPassword: String!, newPassword: String! }
        type Payload { viewer: Viewer }
        type Mutation {
            signIn(input: SignInInput!): Payload
            reauthenticate(password: String!): Boolean
            changePassword(input: ChangePasswordInput!): Boolean
            signOut: Boolean
            createToken: Boolean
        }
    """)


@pytest.fixture
def sign_ins(schema: GraphQLSchema) -> SignIns:
    """Give what knows the documents of nobody."""
    return SignIns(schema, Limits(), Pace(1_000_000, time.monotonic))


def messages(prepared: Prepared | None) -> list[str]:
    """List what is wrong with a document."""
    assert isinstance(prepared, tuple)
    return [error["message"] for error in prepared]


@pytest.mark.parametrize(
    "query",
    [
        f"mutation {INPUT} {{ signIn(input: $input) {{ viewer {{ scopes }} }} }}",
        f"mutation {INPUT} {{ __typename signIn(input: $input) {{ __typename }} }}",
        f"mutation M{INPUT} {{ a: signIn(input: $input) {{ ...V }} }} fragment V on Payload {{ __typename }}",
        f"mutation {INPUT} {{ ...F ...F }} fragment F on Mutation {{ signIn(input: $input) {{ __typename }} }}",
        f"mutation {INPUT} {{ ... on Mutation {{ ... {{ signIn(input: $input) {{ __typename }} }} }} }}",
        "mutation ($e: String!, $p: String!) { signIn(input: {email: $e, password: $p}) { __typename } }",
    ],
)
async def test_what_only_signs_in(sign_ins: SignIns, query: str) -> None:
    """Under any name, in a fragment or not, from memory or not, with `__typename` or without."""
    for _ in range(2):
        prepared = await sign_ins.prepared(query)
        assert isinstance(prepared, Operation)
        assert prepared.changes_cookie


@pytest.mark.parametrize(
    "query",
    [
        "",
        "{",
        "mutation { signIn",
        "{ viewer { scopes } }",
        "{ __typename }",
        "{ __schema { types { name } } }",
        "query { signIn }",
        "subscription { signIn }",
        "mutation { __typename }",
        "mutation { createToken }",
        "mutation { signOut }",
        "mutation { signIn: createToken }",
        f"mutation {INPUT} {{ signIn(input: $input) {{ __typename }} createToken }}",
        f"mutation {INPUT} {{ a: signIn(input: $input) {{ __typename }} b: signIn(input: $input) {{ __typename }} }}",
        f"mutation {INPUT} {{ signIn(input: $input) {{ __typename }} ... {{ createToken }} }}",
        f"mutation {INPUT} {{ signIn(input: $input) {{ __typename }} ...F }} fragment F on Mutation {{ createToken }}",
        f"mutation {INPUT} {{ signIn(input: $input) {{ __typename }} __schema {{ types {{ name }} }} }}",
        f"mutation A{INPUT} {{ signIn(input: $input) {{ __typename }} }} query B {{ viewer {{ scopes }} }}",
        f"mutation {INPUT} {{ signIn(input: $input) {{ __typename }} }}{' ' * SIGN_IN_CHARACTERS}",
        f"mutation {INPUT} {{ signIn(input: $input) {{ {'__typename ' * 300} }} }}",
        "fragment F on Mutation { ...F } mutation { ...F }",
        "mutation { ...Nowhere }",
    ],
)
async def test_what_does_anything_else(sign_ins: SignIns, query: str) -> None:
    """Whatever it is and whatever is wrong with it, it is no sign-in, and nothing of it is remembered."""
    assert await sign_ins.prepared(query) is None
    assert not sign_ins._documents._seen


@pytest.mark.parametrize(
    "query",
    [
        f"mutation {INPUT} {{ signIn(input: $input) {{ viewe {{ scopes }} }} }}",
        f"mutation {INPUT} {{ signIn(input: $input) }}",
        "mutation ($input: SignInInputs!) { signIn(input: $input) { __typename } }",
        f"mutation {INPUT} {{ signIn(inputs: $input) {{ __typename }} }}",
        "mutation { ...F } fragment F on Mutation { createToken } fragment F on Mutation { signIn }",
    ],
)
async def test_a_sign_in_that_is_not_valid_is_told_without_suggestions(sign_ins: SignIns, query: str) -> None:
    """Who has not signed in learns what is wrong with the document, and no name that is not in it."""
    for _ in range(2):
        assert "Did you mean" not in "".join(messages(await sign_ins.prepared(query)))


async def test_the_memory_of_sign_ins_is_bounded(sign_ins: SignIns) -> None:
    """However many documents nobody sends, few are remembered."""
    for number in range(2 * SIGN_IN_DOCUMENTS):
        await sign_ins.prepared(f"mutation M{number}{INPUT} {{ signIn(input: $input) {{ __typename }} }}")
    assert len(sign_ins._documents._seen) == SIGN_IN_DOCUMENTS


async def test_new_documents_are_looked_at_at_a_pace(schema: GraphQLSchema) -> None:
    """Beyond it new ones are turned away, while one that is known is heard and what is none is told so at once."""
    sign_ins = SignIns(schema, Limits(), Pace(1, lambda: 0.0))
    known = f"mutation {INPUT} {{ signIn(input: $input) {{ __typename }} }}"
    assert isinstance(await sign_ins.prepared(known), Operation)
    with pytest.raises(DenialsOverloadError):
        await sign_ins.prepared(known + " ")
    assert isinstance(await sign_ins.prepared(known), Operation)
    assert await sign_ins.prepared("{ viewer { scopes } }") is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            'mutation { signIn(input: {email: "a", password: "PASSWORD"}) { __typename } }',
            "must be a variable",
        ),
        ('mutation { reauthenticate(password: "PASSWORD") }', "must be a variable"),
        ('mutation { reauthenticate(password: """PASSWORD""") }', "must be a variable"),
        (
            'mutation ($i: SignInInput! = {email: "a", password: "PASSWORD"}) { signIn(input: $i) { __typename } }',
            "must be a variable",
        ),
        (
            'mutation ($p: String! = "PASSWORD") { reauthenticate(password: $p) }',
            "must have no default",
        ),
        (
            'fragment F on Mutation { reauthenticate(password: $p) } mutation ($p: String! = "PASSWORD") { ...F }',
            "must have no default",
        ),
        (
            'mutation ($p: String!) { changePassword(input: {currentPassword: $p, newPassword: "PASSWORD"}) }',
            "must be a variable",
        ),
    ],
)
def test_a_password_in_a_document_is_refused(schema: GraphQLSchema, query: str, expected: str) -> None:
    """Literals, blocks and defaults, wherever they are: the error says so and shows nothing of them."""
    told = "".join(messages(Documents(schema, Limits()).prepared(query.replace("PASSWORD", PASSWORD))))
    assert expected in told
    assert PASSWORD not in told


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("mutation { signOut }", True),
        ("mutation { x: signOut createToken }", True),
        ("mutation { ...F } fragment F on Mutation { signOut }", True),
        ("mutation ($p: String!) { reauthenticate(password: $p) }", True),
        ("mutation ($i: ChangePasswordInput!) { changePassword(input: $i) }", True),
        ("mutation { signOut: createToken }", False),
        ("{ viewer { scopes } }", False),
    ],
)
def test_what_changes_the_cookie(schema: GraphQLSchema, query: str, *, changes: bool) -> None:
    """By the field's own name, in a fragment or not."""
    prepared = Documents(schema, Limits()).prepared(query)
    assert isinstance(prepared, Operation)
    assert prepared.changes_cookie is changes
