"""Pages of a million events and of a million tokens: the last page against the first, each way, in each order."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Final

from bench import report
from bench.books import EVENTS, SIZE, TOKENS, Book, Graph, ReadPage, asked_of
from bench.history import DATABASE, History, history
from bench.issuing import organizations
from bench.plan import Plan
from bench.report import Section, Table, Target
from bench.server import Server
from bench.verifying import entrances_of
from events.statement import load
from projections.tokens import TokenOrderField
from service.authorization import Principal, token_principal
from service.entrances import Entrances

FILL_TOKENS: Final = load("bench", "fill_tokens")
FILL_LAST_USED: Final = load("bench", "fill_last_used")
MOST: Final = 1.3
WARMING: Final = 10
READER: Final = "tok_01jd0000000000000000000000"
SCOPES: Final = ("tokens:read", "events:read")
ORDERS: Final = tuple(product(TokenOrderField, (False, True)))
METHOD: Final = """\
A page of {size} of an organization's {events:,} events, and of another's {tokens:,} tokens: the first page and the last
full one, read in turn {samples} times each; medians. *Query* is the statement and the decoding of its rows, *GraphQL*
the whole operation, parsed before. Both run in this process, without HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """How long the first and the last page took, in milliseconds, by block of samples."""

    first_ms: Sequence[float]
    last_ms: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as long the last page took."""
        return report.ratios(self.last_ms, self.first_ms)

    def figures(self) -> list[str]:
        """Write it."""
        return [report.number(median(self.first_ms)), report.number(median(self.last_ms)), report.spread(self.ratios)]


async def run(server: Server, plan: Plan) -> list[Section]:
    """Compare the pages."""
    async with history(server, plan) as (core, long), entrances_of(core) as entrances:
        (owner,) = await organizations(core, count=1)
        await fill(server, owner, plan.paged_tokens)
        auditor = token_principal(READER, long.organization, SCOPES)
        reader = token_principal(READER, owner.organization, SCOPES)
        sampled = {
            name: [await alternate(book, plan) for book in pair]
            for name, pair in (await books(entrances, auditor, reader)).items()
        }
    return [section(plan, long, sampled)]


async def books(entrances: Entrances, auditor: Principal, reader: Principal) -> dict[str, tuple[Book, Book]]:
    """List what is paged through, by query and over GraphQL."""
    asked, graph = asked_of(entrances.core), Graph(entrances)
    listed = {
        f"events {order}": (
            await asked.events(auditor, descending=order == "NEWEST_FIRST"),
            await graph.book(auditor, EVENTS, order),
        )
        for order in ("OLDEST_FIRST", "NEWEST_FIRST")
    }
    for field, descending in ORDERS:
        order = {"field": field.value, "direction": "DESC" if descending else "ASC"}
        listed[f"tokens {order['field']} {order['direction']}"] = (
            await asked.tokens(reader, field, descending=descending),
            await graph.book(reader, TOKENS, order),
        )
    return listed


def section(plan: Plan, long: History, sampled: dict[str, list[Sampled]]) -> Section:
    """Lay the pages out."""
    rows = [[name, *query.figures(), *graphql.figures()] for name, (query, graphql) in sampled.items()]
    table = Table(("page", "query, first ms", "last ms", "ratio", "GraphQL, first ms", "last ms", "ratio"), rows)
    held = [
        Target(name=f"{name}: last / first, {what}", values=one.ratios, bound=MOST, at_least=False)
        for name, pair in sampled.items()
        for what, one in zip(("query", "GraphQL"), pair, strict=True)
    ]
    worst = max(held, key=lambda target: median(target.values))
    method = METHOD.format(
        size=SIZE, events=long.events, tokens=plan.paged_tokens, samples=plan.page_samples * plan.repetitions
    )
    summary = f"Wanted: at most {MOST} x. The highest: {report.spread(worst.values)} x ({worst.name})."
    return Section("Pages", (method, table, summary), report.missed(held))


async def fill(server: Server, owner: Principal, count: int) -> None:
    """Write the rows of so many tokens."""
    async with server.connections(DATABASE, 1) as (connection,):
        await connection.execute(FILL_TOKENS.text, owner.organization, count)
        await connection.execute(FILL_LAST_USED.text, owner.organization, count)
    await server.as_superuser("vacuum analyze", "checkpoint", database=DATABASE)


async def alternate(book: Book, plan: Plan) -> Sampled:
    """Read the first and the last page in turn, after some times that do not count."""
    for _ in range(WARMING):
        await read_ms(book.first), await read_ms(book.last)
    first_ms, last_ms = [], []
    for _ in range(plan.repetitions):
        taken = [(await read_ms(book.first), await read_ms(book.last)) for _ in range(plan.page_samples)]
        first, last = zip(*taken, strict=True)
        first_ms.append(median(first))
        last_ms.append(median(last))
    return Sampled(first_ms=first_ms, last_ms=last_ms)


async def read_ms(page: ReadPage) -> float:
    """Read a page and say how long that took."""
    began = time.perf_counter()
    await page()
    return (time.perf_counter() - began) * 1000
