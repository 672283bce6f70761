"""Passwords that are hashed, in processes that do so: what a verifier is bound to, and how hashing is bounded."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher

from service.hashing import HashingOverloadError, VerifierError
from service.keyring import KeyRing, UnknownKeyError
from service.passwords import (
    MOST_WAITING,
    PROCESSES,
    Kept,
    Passwords,
    Terms,
)
from service.secret_text import SecretText
from tests.costs import CHEAP

OLD = bytes(32)
NEW = bytes([1]) * 32
TERMS = Terms(organization="org_1", member_id="mem_1")
PASSWORD = SecretText("staple of the correct horse")


def ring(keys: dict[str, bytes]) -> Callable[[], KeyRing]:
    """Say peppers that stay the same."""
    made = KeyRing(keys)
    return lambda: made


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    """Hash at a cost that a test can afford."""
    made = Passwords(ring({"k1": OLD}), os.urandom, cost=CHEAP)
    yield made
    await made.close()


async def test_any_text_can_be_presented(passwords: Passwords) -> None:
    """A surrogate, an empty and a huge text do not match, and raise nothing."""
    kept = await passwords.keep(PASSWORD, TERMS)
    for text in ("", "\ud800", "x" * 300_000, "\u0301" * 300_000, "\0"):
        assert not await passwords.matches(SecretText(text), kept)


async def test_a_password_matches_its_own_verifier_only(passwords: Passwords) -> None:
    """The right one matches, in either normalisation; another one does not; and where nothing is kept none does."""
    kept = await passwords.keep(SecretText("caf\u00e9 au lait, s'il vous pla\u00eet"), TERMS)
    assert await passwords.matches(SecretText("cafe\u0301 au lait, s'il vous plai\u0302t"), kept)
    assert not await passwords.matches(PASSWORD, kept)
    assert not await passwords.matches(PASSWORD, None)


@pytest.mark.parametrize(
    "terms",
    [
        replace(TERMS, organization="org_2"),
        replace(TERMS, member_id="mem_2"),
        replace(TERMS, organization="org_1mem", member_id="_1"),
        replace(TERMS, must_change=True),
        replace(TERMS, expires_at=datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
async def test_a_verifier_is_bound_to_its_terms(passwords: Passwords, terms: Terms) -> None:
    """A verifier that is moved to another member, or whose conditions are altered, matches nothing."""
    kept = await passwords.keep(PASSWORD, TERMS)
    assert not await passwords.matches(PASSWORD, replace(kept, terms=terms))


async def test_an_expiry_is_part_of_the_terms(passwords: Passwords) -> None:
    """A one-time password matches under its own expiry and not when that was put off."""
    terms = replace(TERMS, must_change=True, expires_at=datetime(2027, 1, 1, tzinfo=UTC))
    kept = await passwords.keep(PASSWORD, terms)
    assert await passwords.matches(PASSWORD, kept)
    later = replace(terms, expires_at=datetime(2027, 1, 1, tzinfo=UTC) + timedelta(microseconds=1))
    assert not await passwords.matches(PASSWORD, replace(kept, terms=later))


async def test_a_verifier_is_worth_nothing_without_the_pepper(passwords: Passwords) -> None:
    """Under another pepper of the same name nothing matches; a pepper that is not loaded is our trouble."""
    kept = await passwords.keep(PASSWORD, TERMS)
    others = Passwords(ring({"k1": NEW}), os.urandom, cost=CHEAP)
    assert not await others.matches(PASSWORD, kept)
    with pytest.raises(UnknownKeyError):
        await others.matches(PASSWORD, replace(kept, pepper_id="k9"))
    await others.close()


async def test_it_is_noticed_what_should_be_hashed_anew(passwords: Passwords) -> None:
    """Another writing pepper or another cost outdates a verifier, which goes on to match."""
    kept = await passwords.keep(PASSWORD, TERMS)
    assert not passwords.is_outdated(kept)
    later = Passwords(ring({"k2": NEW, "k1": OLD}), os.urandom, cost=CHEAP)
    dearer = Passwords(
        ring({"k1": OLD}), os.urandom, cost=replace(CHEAP, hasher=PasswordHasher(memory_cost=2048, time_cost=1))
    )
    for newer in (later, dearer):
        assert await newer.matches(PASSWORD, kept)
        assert newer.is_outdated(kept)
        await newer.close()


async def test_planted_verifiers_are_refused_unhashed(passwords: Passwords) -> None:
    """A verifier beyond the bounds of a password's cost is not computed."""
    kept = await passwords.keep(PASSWORD, TERMS)
    with pytest.raises(VerifierError):
        await passwords.matches(PASSWORD, replace(kept, verifier=kept.verifier.replace("m=1024", "m=131073")))


async def test_what_is_kept_shows_nothing(passwords: Passwords) -> None:
    """Neither the password nor its verifier is in the text representation of what is kept."""
    kept = await passwords.keep(PASSWORD, TERMS)
    assert "argon2" not in repr(kept)
    assert isinstance(kept, Kept)


async def test_a_new_pepper_is_written_under_at_once() -> None:
    """When the peppers are replaced, new passwords are under the new one, and old ones go on to match."""
    rings = [KeyRing({"k1": OLD})]
    passwords = Passwords(lambda: rings[-1], os.urandom, cost=CHEAP)
    kept = await passwords.keep(PASSWORD, TERMS)
    rings.append(KeyRing({"k2": NEW, "k1": OLD}))
    assert await passwords.matches(PASSWORD, kept)
    assert passwords.is_outdated(kept)
    assert (await passwords.keep(PASSWORD, TERMS)).pepper_id == "k2"
    await passwords.close()


async def test_few_are_hashed_at_once_and_few_wait() -> None:
    """Beyond the processes and the queue a password is refused at once, before any hashing."""
    passwords = Passwords(ring({"k1": OLD}), os.urandom)
    calls = [asyncio.create_task(passwords.matches(PASSWORD, None)) for _ in range(PROCESSES + MOST_WAITING)]
    await asyncio.sleep(0)  # all of them run up to their wait
    with pytest.raises(HashingOverloadError):
        await passwords.matches(PASSWORD, None)
    assert passwords.in_flight <= PROCESSES + MOST_WAITING
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await passwords.close()
    assert passwords.in_flight == 0
