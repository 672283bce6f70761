"""A replay is sealed twice: it opens with the idempotency key and our keys together, and a new key needs only ours."""

import os
from dataclasses import replace
from typing import Any

import pytest

from service.keyring import KeyRing
from service.sealing import SealedValue, SealError, reseal, unseal
from service.secret_text import SecretText
from service.vault import REPLAY_COLUMN, IdempotencyKey, Keys, idempotency_key, open_replay, replay_row

KEK, NEW, DATA, OTHER = (bytes([byte] * 32) for byte in range(4))
SECRET = "entri_hunter2"
KEYS = Keys(
    peppers=KeyRing({"k1": KEK}),
    keks=KeyRing({"k1": KEK}),
    data=KeyRing({"data": DATA}),
    prefix="entri_",
    random_bytes=os.urandom,
)


def with_keys(**changed: KeyRing) -> Keys:
    """Take other keys."""
    rings = {"peppers": KEYS.peppers, "keks": KEYS.keks, "data": KEYS.data} | changed
    return Keys(**rings, prefix="entri_", random_bytes=os.urandom)


def key_of(text: str, keys: Keys = KEYS) -> IdempotencyKey:
    """Bind an idempotency key."""
    return idempotency_key(keys, text, principal=("org_1", "tok_1"), command={"name": "a token"})


def sealed_for(key: IdempotencyKey) -> SealedValue:
    """Seal the sample secret for a retry."""
    row: dict[str, Any] = replay_row(KEYS, key, secret=SecretText(SECRET), token_id="tok_2", organization="org_1")
    return SealedValue(row["key_id"], bytes.fromhex(row["nonce"][2:]), bytes.fromhex(row["ciphertext"][2:]))


def test_a_replay_opens_with_all_that_it_was_sealed_under() -> None:
    """The retry's own key, the data key and the key-encryption key give the secret."""
    key = key_of("mine")
    assert open_replay(KEYS, key, sealed_for(key)).reveal() == SECRET


def test_the_database_with_our_keys_does_not_open_it() -> None:
    """Under the outer seal there is another: without the idempotency key it stays shut, and shows nothing."""
    key = key_of("mine")
    sealed = sealed_for(key)
    inner = unseal(KEYS.keks, sealed, row_id=key.event_id, column=REPLAY_COLUMN).reveal()
    assert SECRET not in inner
    with pytest.raises(SealError):
        open_replay(KEYS, replace(key, text="guessed"), sealed)


@pytest.mark.parametrize("ring", ["keks", "data"])
def test_the_idempotency_key_alone_does_not_open_it(ring: str) -> None:
    """With another key-encryption key or another data key the retry's own key is of no use."""
    key = key_of("mine")
    with pytest.raises(SealError):
        open_replay(with_keys(**{ring: KeyRing({"k1": OTHER})}), key, sealed_for(key))


def test_a_new_key_takes_over_without_the_idempotency_key() -> None:
    """Only the outer seal is renewed; then the old key-encryption key is not needed any more."""
    key = key_of("mine")
    both = KeyRing({"k2": NEW, "k1": KEK})
    where = {"row_id": key.event_id, "column": REPLAY_COLUMN}
    renewed = reseal(both, sealed_for(key), **where, random_bytes=os.urandom)
    assert renewed.key_id == "k2"
    assert open_replay(with_keys(keks=KeyRing({"k2": NEW})), key, renewed).reveal() == SECRET


def test_an_idempotency_key_is_known_whatever_encrypts() -> None:
    """What it leads to follows from the data key, not from peppers or key-encryption keys."""
    others = with_keys(keks=KeyRing({"k2": NEW}), peppers=KeyRing({"k2": NEW}))
    assert key_of("mine", others) == key_of("mine")
    assert key_of("mine", with_keys(data=KeyRing({"data": OTHER}))) != key_of("mine")
    assert key_of("yours") != key_of("mine")


def test_keys_in_use_are_named_until_all_is_done() -> None:
    """A key is in use as long as one of those that began under it goes on, and whatever writes by then."""
    keys = with_keys()
    with keys.writing():
        with keys.writing():
            keys.keks = KeyRing({"k2": NEW, "k1": KEK})
            assert keys.writes == {"pepper/k1", "kek/k1", "kek/k2"}
        assert keys.writes == {"pepper/k1", "kek/k1", "kek/k2"}
    assert keys.writes == {"pepper/k1", "kek/k2"}


def test_keys_do_not_show_themselves() -> None:
    """The representation of all keys together names ids only."""
    assert "\\x" not in repr(KEYS)
    assert "b'" not in repr(KEYS)
