"""The throttle on a real database: many at once are as limited as one after another, and success makes room."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.keyring import KeyRing
from service.throttle import Charged, Limits, RateLimitedError, Throttle, network_of
from tests.postgres.conftest import Database

LIMITS = Limits(account=5, address=20, window=timedelta(minutes=10))
ACCOUNT = ("sign in", "", "grace@example.com")
RING, OTHER_RING = KeyRing({"k1": bytes(32)}), KeyRing({"k1": bytes([1]) * 32})
HERE = "192.0.2.1"


async def charge(throttle: Throttle, *, account: str = "a", address: str | None = None) -> Charged | RateLimitedError:
    """Count one try, or answer why not."""
    try:
        return await throttle.charge(("sign in", "", account), address)
    except RateLimitedError as error:
        return error


def allowed(outcomes: list[Charged | RateLimitedError]) -> int:
    """Count the tries that were allowed."""
    return sum(isinstance(outcome, Charged) for outcome in outcomes)


async def test_an_account_takes_so_many_failures(database: Database) -> None:
    """As many as the limit fail at once; the next waits for its share of the window; other accounts do not."""
    async with database.pool() as pool:
        throttle = Throttle(pool, lambda: RING, LIMITS)
        outcomes = [await charge(throttle) for _ in range(6)]
        assert allowed(outcomes) == 5
        refused = outcomes[-1]
        assert isinstance(refused, RateLimitedError)
        assert 118 <= refused.retry_after_s <= 120
        assert isinstance(await charge(throttle, account="b"), Charged)


async def test_many_at_once_are_as_limited(database: Database) -> None:
    """Of fifty tries at once as many are allowed as of fifty one after another."""
    async with database.pool() as pool:
        throttle = Throttle(pool, lambda: RING, LIMITS)
        outcomes = await asyncio.gather(*(charge(throttle, address=HERE) for _ in range(50)))
        assert allowed(outcomes) == 5


async def test_a_network_address_takes_so_many_failures(database: Database) -> None:
    """Tries of many accounts from one address are limited together; another address is free."""
    async with database.pool() as pool:
        throttle = Throttle(pool, lambda: RING, LIMITS)
        outcomes = await asyncio.gather(*(charge(throttle, account=str(n), address=HERE) for n in range(30)))
        assert allowed(outcomes) == 20
        assert isinstance(await charge(throttle, account="x", address="192.0.2.2"), Charged)
        assert isinstance(await charge(throttle, account="y"), Charged)


async def test_success_forgets_the_accounts_failures(database: Database) -> None:
    """After a success the account has all its tries again; the address has paid for none of the successes."""
    async with database.pool() as pool:
        throttle = Throttle(pool, lambda: RING, LIMITS)
        for number in range(40):
            if number % 4 != 3:
                assert isinstance(await charge(throttle, account=f"victim{number}"), Charged)
            charged = await charge(throttle, address=HERE)
            assert isinstance(charged, Charged)
            await throttle.succeeded(charged)
        assert allowed([await charge(throttle) for _ in range(6)]) == 5


async def test_a_try_that_was_not_made_counts_nothing(database: Database) -> None:
    """What is undone leaves the account and the address as they were."""
    async with database.pool() as pool:
        throttle = Throttle(pool, lambda: RING, LIMITS)
        for _ in range(30):
            charged = await charge(throttle, address=HERE)
            assert isinstance(charged, Charged)
            await throttle.undo(charged)
        assert allowed([await charge(throttle, address=HERE) for _ in range(6)]) == 5


async def test_time_makes_room(database: Database) -> None:
    """Each share of the window allows one try more, and after a whole one all are forgotten."""
    async with database.pool() as pool, database.owner() as owner:
        throttle = Throttle(pool, lambda: RING, LIMITS)
        assert allowed([await charge(throttle, address=HERE) for _ in range(6)]) == 5
        await owner.execute("update sign_in_attempts set due_at = due_at - interval '2 minutes'")
        assert allowed([await charge(throttle, address=HERE) for _ in range(2)]) == 1
        await throttle.forget_paid()
        assert await owner.fetchval("select count(*) from sign_in_attempts") == 2
        await owner.execute("update sign_in_attempts set due_at = due_at - interval '10 minutes'")
        await throttle.forget_paid()
        assert await owner.fetchval("select count(*) from sign_in_attempts") == 0


async def test_two_processes_count_together(database: Database) -> None:
    """What one process counted another one sees; with another pepper it would be another count."""
    async with database.pool() as pool, database.pool() as other:
        first, second = Throttle(pool, lambda: RING, LIMITS), Throttle(other, lambda: RING, LIMITS)
        assert allowed([await charge(one) for one in (first, second) * 4]) == 5


async def test_what_is_kept_names_nobody(database: Database) -> None:
    """The table holds keyed digests: neither an address of a person nor one of the network."""
    async with database.pool() as pool, database.owner() as owner:
        await Throttle(pool, lambda: RING, LIMITS).charge(ACCOUNT, HERE)
        rows = await owner.fetch("select * from sign_in_attempts")
        assert len(rows) == 2
        assert all(len(row["key"]) == 32 and b"grace" not in row["key"] for row in rows)
        others = Throttle(pool, lambda: OTHER_RING, LIMITS)
        assert isinstance(await others.charge(ACCOUNT, HERE), Charged)
        assert await owner.fetchval("select count(*) from sign_in_attempts") == 4


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("not an address", "not an address"),
    ],
)
def test_a_network_is_what_one_cannot_choose(address: str, network: str) -> None:
    """Of an IPv6 address the first half counts, since whoever has one has the whole of it."""
    assert network_of(address) == network


@given(st.text())
def test_any_address_has_a_network(address: str) -> None:
    """Whatever is given as an address is counted as something."""
    assert isinstance(network_of(address), str)
