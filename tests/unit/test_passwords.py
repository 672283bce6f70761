"""Passwords: what is acceptable, what a verifier is bound to, and how hashing them is bounded."""

import asyncio
import os
import sys
import threading
import unicodedata
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher, extract_parameters
from hypothesis import given
from hypothesis import strategies as st

from service.hashing import Cost, HashingOverloadError, VerifierError
from service.keyring import KeyRing, UnknownKeyError
from service.passwords import (
    COST,
    LONGEST,
    LONGEST_PRESENTED,
    LOWEST_PRIORITY,
    MOST_WAITING,
    THREADS,
    Kept,
    Passwords,
    Terms,
    common_passwords,
    lower_priority_of_thread,
    normalised,
    one_time_password,
    problem_with,
    verifier_of_nothing,
)
from service.secret_text import SecretText

OLD = bytes(32)
NEW = bytes([1]) * 32
TERMS = Terms(organization="org_1", member_id="mem_1")
PASSWORD = SecretText("staple of the correct horse")
CHEAP = Cost(
    hasher=PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1, hash_len=32, salt_len=16),
    most_memory_kib=131_072,
    most_passes=6,
    most_lanes=8,
)


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


@pytest.mark.parametrize("text", ["", "x" * 11, "x" * 257, "e\u0301" * 11, "x" * 100_000, "\u0301" * 300_000])
def test_a_password_has_twelve_to_256_characters(text: str) -> None:
    """The bounds count characters as they are after normalisation, and a huge text is judged at once."""
    assert problem_with(SecretText(text), ()) == "has 12 to 256 characters"


@pytest.mark.parametrize(
    "text", ["tgvbzhnujmik", "x" * 256, "пароль пароля", "e\u0301" * 256, "            x", "🐎🔋" * 6]
)
def test_no_composition_is_asked_for(text: str) -> None:
    """Letters alone, one letter, any script, spaces and pictures: what is long enough and not common is accepted."""
    assert problem_with(SecretText(text), ()) is None


def test_common_passwords_are_refused_in_any_case() -> None:
    """Thousands of the commonest passwords are known, and writing one in capitals changes nothing."""
    assert len(common_passwords()) == 10_000
    assert all(12 <= len(text) <= 256 and text == text.casefold() for text in common_passwords())
    for text in ("password1234", "PassWord1234", "1qaz2wsx3edc4rfv", "UNBELIEVABLE"):
        assert "commonest" in (problem_with(SecretText(text), ()) or "")


def test_names_that_others_know_are_refused() -> None:
    """A member's address or the organization's name is no password; what only contains it may be one."""
    known = ("grace@example.com", "Globex Corporation")
    for text in ("grace@example.com", "Grace@Example.com ", "globex corporation"):
        assert "others know" in (problem_with(SecretText(text), known) or "")
    assert problem_with(SecretText("globex corporation has a dog"), known) is None


def test_a_lone_surrogate_is_no_character() -> None:
    """What cannot be written as UTF-8 is refused, and hashed without an error when it is presented all the same."""
    assert "half a character" in (problem_with(SecretText("\ud800" * 12), ()) or "")


async def test_any_text_can_be_presented(passwords: Passwords) -> None:
    """A surrogate, an empty and a huge text do not match, and raise nothing."""
    kept = await passwords.keep(PASSWORD, TERMS)
    for text in ("", "\ud800", "x" * 300_000, "\u0301" * 300_000, "\0"):
        assert not await passwords.matches(SecretText(text), kept)


@given(st.text(min_size=1, max_size=LONGEST))
def test_all_spellings_of_a_text_are_one_password(text: str) -> None:
    """Decomposed or composed, a text that can be a password is normalised to the same."""
    decomposed = unicodedata.normalize("NFD", text)
    assert len(decomposed) <= LONGEST_PRESENTED
    assert normalised(SecretText(decomposed)) == normalised(SecretText(text))


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


def test_the_cost_is_that_of_rfc_9106() -> None:
    """New verifiers say Argon2id with 64 MiB, three passes and four lanes, 16 bytes of salt and a hash of 32."""
    parameters = extract_parameters(COST.hasher.hash(bytes(32)))
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (65_536, 3, 4)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)


def test_what_an_unknown_address_is_verified_against_costs_the_same() -> None:
    """The verifier of nobody has the parameters of a real one, to the last character of its form."""
    made_up, real = verifier_of_nothing(COST, os.urandom), COST.hasher.hash(bytes(32))
    assert extract_parameters(made_up) == extract_parameters(real)
    assert len(made_up) == len(real)
    assert made_up != verifier_of_nothing(COST, os.urandom)


async def test_what_is_kept_shows_nothing(passwords: Passwords) -> None:
    """Neither the password nor its verifier is in the text representation of what is kept."""
    kept = await passwords.keep(PASSWORD, TERMS)
    assert "argon2" not in repr(kept)
    assert isinstance(kept, Kept)


async def test_few_are_hashed_at_once_and_few_wait() -> None:
    """Beyond the threads and the queue a password is refused at once, before any hashing."""
    passwords = Passwords(ring({"k1": OLD}), os.urandom)
    calls = [asyncio.create_task(passwords.matches(PASSWORD, None)) for _ in range(THREADS + MOST_WAITING)]
    await asyncio.sleep(0)  # all of them run up to their wait
    with pytest.raises(HashingOverloadError):
        await passwords.matches(PASSWORD, None)
    assert passwords.in_flight <= THREADS + MOST_WAITING
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await passwords.close()
    assert passwords.in_flight == 0


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority of its own on Linux alone")
def test_a_thread_that_hashes_comes_last() -> None:
    """The thread gets the lowest priority, and no other thread does."""
    found: list[int] = []

    def look() -> None:
        lower_priority_of_thread()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [LOWEST_PRIORITY]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_one_time_passwords_are_acceptable_and_differ() -> None:
    """Each is a password by the rules, of unambiguous characters, and random."""
    made = {one_time_password(os.urandom).reveal() for _ in range(100)}
    assert len(made) == 100
    for text in made:
        assert problem_with(SecretText(text), ()) is None
        assert len(text) == 29
        assert not set("01ilo") & set(text)


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
