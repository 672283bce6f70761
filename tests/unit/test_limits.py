"""What one document may ask for, and that finding it out is quick for the worst of them."""

import time
from collections.abc import Callable

import pytest
import strawberry
from graphql import GraphQLSchema, build_schema, get_introspection_query, parse

from service.api.documents import Documents
from service.api.execution import Executor, GraphQLRequest, Way
from service.api.limits import (
    Cost,
    Limits,
    TooComplexError,
    check_cost,
    check_text,
    check_variables,
    survey,
)

LIMITS = Limits()


@strawberry.type
class Query:
    """The same nesting for the executor."""

    @strawberry.field
    def id(self) -> strawberry.ID:
        """Identify it."""
        return strawberry.ID("1")

    @strawberry.field
    def node(self) -> "Query":
        """Nest."""
        return Query()

    @strawberry.field
    def echo(self, text: str = "") -> str:
        """Return the text."""
        return text


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """Give the smallest schema with connections, nesting and a mutation that may be selected once."""
    return build_schema("""
        type Query { node(id: ID): Node, nodes(first: Int, last: Int): Connection, ping: String }
        type Connection { nodes: [Node], totalCount: Int }
        type Node { id: ID, child: Node, children(first: Int, last: Int): Connection }
        type Mutation { signIn(password: String): String, reauthenticate: String, other: String }
    """)


def cost(schema: GraphQLSchema, query: str, **values: object) -> int:
    """Return what a document costs with these variables."""
    return survey(schema, parse(query), limits=LIMITS).total(values, LIMITS)


@pytest.mark.parametrize(
    ("query", "values", "expected"),
    [
        ("{ ping }", {}, 1),
        ("{ ping node { id } }", {}, 3),
        ("{ nodes(first: 10) { nodes { id } totalCount } }", {}, 31),
        ("{ nodes { nodes { id } } }", {}, 101),
        ("{ nodes(first: 3, last: 7) { totalCount } }", {}, 8),
        ("{ nodes(first: 1000) { totalCount } }", {}, 101),
        ("{ nodes(first: 0) { totalCount } }", {}, 2),
        ("query ($n: Int) { nodes(first: $n) { totalCount } }", {"n": 20}, 21),
        ("query ($n: Int) { nodes(first: $n) { totalCount } }", {"n": 20.0}, 21),
        ("query ($n: Int) { nodes(first: $n) { totalCount } }", {}, 51),
        ("query ($n: Int) { nodes(first: $n) { totalCount } }", {"n": None}, 51),
        ("query ($n: Int) { nodes(first: $n) { totalCount } }", {"n": 10**9}, 101),
        ("query ($n: Int = 5) { nodes(first: $n) { totalCount } }", {}, 6),
        ("query ($n: Int) { nodes(first: 2) { nodes { children(first: $n) { totalCount } } } }", {"n": 10}, 25),
        ("{ ...F ...F } fragment F on Query { nodes(first: 3) { totalCount } }", {}, 8),
        ("query ($n: Int) { ...F ...F } fragment F on Query { nodes(first: $n) { totalCount } }", {"n": 3}, 8),
        ("{ ... on Query { ping } }", {}, 1),
    ],
)
def test_a_field_costs_one_and_a_connection_multiplies(
    schema: GraphQLSchema, query: str, values: dict[str, object], expected: int
) -> None:
    """The cost is the number of fields, times the rows that each connection around them is asked for."""
    assert cost(schema, query, **values) == expected


def test_real_page_sizes_decide(schema: GraphQLSchema) -> None:
    """A document of nested connections passes or fails by the variables of each request."""
    nested = survey(
        schema,
        parse("query ($n: Int) { nodes(first: $n) { nodes { children(first: $n) { nodes { id } } } } }"),
        limits=LIMITS,
    )
    check_cost(nested.total({"n": 20}, LIMITS), LIMITS)
    with pytest.raises(TooComplexError, match="costs 20201, more than 5000"):
        check_cost(nested.total({"n": 100}, LIMITS), LIMITS)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{ node " + "{ child " * 11 + "{ id }" + " }" * 11 + " }", "12 levels"),
        ("{ ...A } fragment A on Query { node " + "{ child " * 11 + "{ id }" + " }" * 11 + " }", "12 levels"),
        ("{ " + "... { " * 150 + "ping" + " }" * 150 + " }", "12 levels"),
        ("{ " + " ".join(f"a{i}: ping" for i in range(31)) + " }", "30 aliases"),
        ("{ " + "ping " * 16 + "}", "selected more than 15 times"),
        ("{ " + "node { id id id } " * 6 + "}", "selected more than 15 times"),
        ("{ " + "...F " * 61 + "} fragment F on Query { ping }", "60 fragments"),
        ("mutation { a: signIn b: signIn }", "signIn, once"),
        ("mutation { signIn reauthenticate }", "signIn, once"),
        ("mutation { a: signIn ...F } fragment F on Mutation { signIn }", "signIn, once"),
        ("{ a: __schema { types { name } } }", "no aliases"),
        ("{ __schema { types { a: name } } }", "no aliases"),
        ("{ __schema { types { fields { type { fields { name } } } } } }", "list of types"),
        ('{ __type(name: "X") ' + "{ ofType " * 16 + "{ name }" + " }" * 16 + " }", "16 levels"),
        ("{ nodes(first: 100) { nodes { children(first: 100) { totalCount } } } }", "costs 10201"),
    ],
)
def test_a_limit_is_named_when_it_is_passed(schema: GraphQLSchema, query: str, message: str) -> None:
    """Each limit refuses the document that goes over it, and says which it was."""
    with pytest.raises(TooComplexError, match=message):
        survey(schema, parse(query), limits=LIMITS)


@pytest.mark.parametrize(
    "query",
    [
        "{ node " + "{ child " * 10 + "{ id }" + " }" * 10 + " }",
        "{ " + " ".join(f"a{i}: ping" for i in range(30)) + " }",
        "{ " + "ping " * 15 + "}",
        "{ nowhere { first(first: $undefined) { x } } ...Missing }",
        get_introspection_query(
            specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
        ),
    ],
)
def test_what_is_within_the_limits_passes(schema: GraphQLSchema, query: str) -> None:
    """The standard introspection query passes, as does what is at a limit or is invalid in other ways."""
    assert isinstance(survey(schema, parse(query), limits=LIMITS), Cost)


def bomb(depth: int, body: str) -> str:
    """Return fragments that each spread the next twice."""
    links = " ".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(depth))
    return f"{{ ...F0 }} {links} fragment F{depth} on Query {{ {body} }}"


@pytest.mark.parametrize("body", ["ping", "", "nodes(first: $n) { totalCount }"])
def test_a_fragment_bomb_costs_its_text(schema: GraphQLSchema, body: str) -> None:
    """Fragments that double twenty-five times are weighed in the time their text takes, and refused for their cost."""
    document = parse(bomb(25, body))
    before = time.process_time()
    if body:
        with pytest.raises(TooComplexError, match="costs over 50000"):
            survey(schema, document, limits=LIMITS)
    else:
        survey(schema, document, limits=LIMITS)
    assert time.process_time() - before < 0.05


def test_a_cycle_ends(schema: GraphQLSchema) -> None:
    """Fragments in a circle, which validation refuses earlier, end the walk too and not the process."""
    with pytest.raises(TooComplexError, match="levels deep"):
        survey(schema, parse("{ node { ...A } } fragment A on Node { child { ...A } }"), limits=LIMITS)


def test_the_text_is_bounded() -> None:
    """Long documents and documents of many lines are refused before anything reads them."""
    check_text("x" * 32_768, LIMITS)
    with pytest.raises(TooComplexError, match="32768 characters"):
        check_text("x" * 32_769, LIMITS)
    with pytest.raises(TooComplexError, match="2000 lines"):
        check_text("\r\n" * 1_001, LIMITS)


@pytest.mark.parametrize("values", [{"a": [0] * 3_000}, {"a": [[[0] * 700] * 3]}, {str(i): i for i in range(2_001)}])
def test_the_variables_are_bounded(values: dict[str, object]) -> None:
    """Variables of more values than coercion gets through quickly are refused, however they are nested."""
    check_variables({"input": {"scopes": ["a:b"] * 100}}, LIMITS)
    with pytest.raises(TooComplexError, match="2000 values"):
        check_variables(values, LIMITS)


HOSTILE: dict[str, Callable[[], str]] = {
    "deep": lambda: "{node" * 50_000,
    "deep within the tokens": lambda: "{node" * 150 + "{id}" + "}" * 150,
    "inline fragments": lambda: "{..." * 150 + "{id}" + "}" * 150,
    "aliases": lambda: "{" + " ".join(f"a{i}: id" for i in range(10_000)) + "}",
    "fewer aliases": lambda: "{" + " ".join(f"a{i}: id" for i in range(300)) + "}",
    "same field": lambda: "{" + "id " * 990 + "}",
    "same object": lambda: "{" + "node{id} " * 240 + "}",
    "same chains": lambda: "{" + ("node{id " * 11 + "}" * 11 + " ") * 15 + "}",
    "fragment bomb": lambda: (
        "{...F0}"
        + " ".join(f"fragment F{i} on Query{{...F{i + 1} ...F{i + 1}}}" for i in range(75))
        + "fragment F75 on Query{id}"
    ),
    "fragment cycle": lambda: (
        "{...F0}" + "".join(f"fragment F{i} on Query{{...F{(i + 1) % 80} ...F{(i + 2) % 80}}}" for i in range(80))
    ),
    "many fragments": lambda: (
        "{"
        + "".join(f"...F{i} " for i in range(58))
        + "}"
        + "".join(f"fragment F{i} on Query{{x{i} id}}" for i in range(58))
    ),
    "fields that are not there": lambda: "{" + " ".join(f"x{i}" for i in range(990)) + "}",
    "variables": lambda: "query(" + " ".join(f"$v{i}:Int" for i in range(190)) + "){id}",
    "huge string": lambda: '{echo(text:"' + "x" * 262_000 + '")}',
    "long string": lambda: '{echo(text:"' + "\\n" * 16_000 + '")}',
    "huge list": lambda: "{echo(text:[" + "1," * 100_000 + "])}",
    "nested list": lambda: "{echo(text:" + "[" * 190 + "]" * 190 + ")}",
    "lines": lambda: "\n" * 262_000 + "{id}",
    "commas": lambda: "," * 262_000 + "{id}",
    "comments": lambda: "#\n" * 900 + "{id}",
    "conflicts": lambda: "\n" * 1_990 + "{" + "".join(f'echo(text:"{i}")' for i in range(15)) + "}",
    "introspection of introspection": lambda: "{__schema{types" + "{fields{type" * 60 + "{name}" + "}}" * 60 + "}}",
    "introspection thirty times": lambda: "{" + " ".join(f"a{i}:__schema{{types{{name}}}}" for i in range(30)) + "}",
}


def parsing_s() -> float:
    """Take the processor time that parsing needs for an ordinary document, of 250 fields with two fields each."""
    document = "{" + " ".join(f"field{number}(a: {number}) {{ id name }}" for number in range(250)) + "}"
    before = time.process_time()
    parse(document)
    return time.process_time() - before


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_documents_cost_little(name: str) -> None:
    """The worst documents that fit into a body take less than four times the parsing of a long ordinary one."""
    request = GraphQLRequest(query=HOSTILE[name](), variables={})
    taken, parsing = [], []
    for _ in range(3):
        fresh = Executor(strawberry.Schema(Query), Limits())
        before = time.process_time()
        await fresh.execute(request, context=None, request_id="r", way=Way.GET)
        taken.append(time.process_time() - before)
        parsing.append(parsing_s())  # on this machine, as busy as it is now
    assert min(taken) < 4 * min(parsing)


def test_the_memory_of_documents_is_bounded() -> None:
    """Only so many documents and characters are kept, the least recently used go first, long ones never stay."""
    schema = strawberry.Schema(Query)._schema
    documents = Documents(schema, Limits(), documents=3, document_characters=50, characters=100)
    for i in range(10):
        documents.prepared(f"query Q{i} {{ id }}")
        documents.prepared("{ id }")
    assert list(documents._seen) == ["query Q8 { id }", "query Q9 { id }", "{ id }"]
    documents.prepared("{ id }" + " " * 50)
    assert len(documents._seen) == 3
    for i in range(3):
        documents.prepared(f"{{ id }}{' ' * 40}{i}")
    assert documents._characters_held == sum(map(len, documents._seen)) <= 100
