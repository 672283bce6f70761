"""Seals open at the row, column and key they were made for, and nowhere else."""

import hashlib
import hmac
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.keyring import KeyRing
from service.sealing import (
    SealedValue,
    SealError,
    SealKeyMissingError,
    derive,
    idempotency_key_ring,
    seal,
    unseal,
)
from service.secret_text import SecretText

RING = KeyRing({"k2": bytes(range(32)), "k1": bytes(range(32, 64))})
SECRET = SecretText("entri_hunter2")


def sealed_at(row_id: str, column: str, ring: KeyRing = RING) -> SealedValue:
    """Seal the sample secret."""
    return seal(ring, SECRET, row_id=row_id, column=column, random_bytes=os.urandom)


@given(st.text(), st.text(), st.text())
def test_unsealing_undoes_sealing(plaintext: str, row_id: str, column: str) -> None:
    """At its own row and column every sealed text comes back."""
    sealed = seal(RING, SecretText(plaintext), row_id=row_id, column=column, random_bytes=os.urandom)
    assert sealed.key_id == "k2"
    assert unseal(RING, sealed, row_id=row_id, column=column) == SecretText(plaintext)


@given(st.text(), st.text(), st.text(), st.text())
def test_a_moved_seal_is_refused(row_id: str, column: str, other_row_id: str, other_column: str) -> None:
    """A seal that a database writer moved to another row or column does not open."""
    sealed = sealed_at(row_id, column)
    if (row_id, column) == (other_row_id, other_column):
        return
    with pytest.raises(SealError, match="does not authenticate"):
        unseal(RING, sealed, row_id=other_row_id, column=other_column)


def test_the_border_between_row_and_column_is_sealed() -> None:
    """The row "a" with the column "bc" is not the row "ab" with the column "c"."""
    with pytest.raises(SealError):
        unseal(RING, sealed_at("a", "bc"), row_id="ab", column="c")


@given(st.integers(min_value=0))
def test_any_changed_bit_is_refused(bit: int) -> None:
    """A ciphertext or tag with any one bit changed does not open."""
    sealed = sealed_at("row", "column")
    changed = bytearray(sealed.ciphertext)
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    with pytest.raises(SealError):
        unseal(RING, replace(sealed, ciphertext=bytes(changed)), row_id="row", column="column")


@pytest.mark.parametrize("length", [0, 1, 15, 16, 28])
def test_a_truncated_seal_is_refused(length: int) -> None:
    """A ciphertext that was cut, even below the length of its tag, does not open."""
    sealed = sealed_at("row", "column")
    with pytest.raises(SealError, match="does not authenticate"):
        unseal(RING, replace(sealed, ciphertext=sealed.ciphertext[:length]), row_id="row", column="column")


@pytest.mark.parametrize("length", [0, 7, 11, 13, 16, 129, 4096])
def test_a_nonce_of_another_length_is_refused(length: int) -> None:
    """A planted nonce of any other length is a seal that does not open, not another kind of error."""
    with pytest.raises(SealError, match="does not authenticate"):
        unseal(RING, replace(sealed_at("row", "column"), nonce=bytes(length)), row_id="row", column="column")


def test_the_wrong_key_is_refused() -> None:
    """A seal that names another of our keys does not open."""
    with pytest.raises(SealError, match="does not authenticate"):
        unseal(RING, replace(sealed_at("row", "column"), key_id="k1"), row_id="row", column="column")


def test_a_key_that_is_not_loaded_is_told_apart() -> None:
    """A missing key is its own error, which names the loaded ones and quotes nothing of the row."""
    with pytest.raises(SealKeyMissingError, match="not loaded; loaded are k2, k1") as caught:
        unseal(RING, replace(sealed_at("row", "column"), key_id="planted"), row_id="row", column="column")
    assert "planted" not in str(caught.value)


def test_older_keys_still_open_their_seals() -> None:
    """After a new key is put first, what the old one sealed opens."""
    sealed = sealed_at("row", "column", KeyRing({"k1": bytes(range(32, 64))}))
    assert unseal(RING, sealed, row_id="row", column="column") == SECRET


def test_a_nonce_is_what_the_source_gave() -> None:
    """Each seal takes its own 96 bits from the source of randomness."""
    sealed = seal(RING, SECRET, row_id="row", column="column", random_bytes=lambda size: b"n" * size)
    assert sealed.nonce == b"n" * 12


def test_a_sealed_value_does_not_show_itself() -> None:
    """The representation of a sealed value names its key only."""
    assert repr(sealed_at("row", "column")) == "SealedValue(key_id='k2', …)"


@given(st.text(), st.text())
def test_a_replay_opens_with_its_idempotency_key_only(one: str, other: str) -> None:
    """What was sealed for one idempotency key opens with it, and neither with another nor with our key alone."""
    sealed = sealed_at("row", "column", idempotency_key_ring(RING, one))
    assert unseal(idempotency_key_ring(RING, one), sealed, row_id="row", column="column") == SECRET
    for ring in [RING] if one == other else [RING, idempotency_key_ring(RING, other)]:
        with pytest.raises(SealError):
            unseal(ring, sealed, row_id="row", column="column")


def test_derivation_is_hkdf_of_the_framed_label_and_parts() -> None:
    """The derived key is RFC 5869's, computed here by hand, so that no later version derives another."""
    info = b"\0\0\0\x05label\0\0\0\x01a\0\0\0\x02bc"
    extracted = hmac.new(bytes(32), b"k" * 32, hashlib.sha256).digest()
    assert derive(b"k" * 32, "label", b"a", b"bc") == hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def test_derivation_keeps_parts_apart() -> None:
    """Parts that join to the same bytes derive different keys."""
    keys = {derive(b"k" * 32, "label", *parts) for parts in ([b"a", b"bc"], [b"ab", b"c"], [b"abc"], [b"abc", b""])}
    assert len(keys) == 4


def test_a_seal_of_the_first_version_opens() -> None:
    """A seal made once, kept here as bytes, opens for ever."""
    sealed = SealedValue("k2", b"n" * 12, bytes.fromhex("c235631bdc03df8a05580f28db22b91b033f241065269942a8fac71aa9"))
    assert unseal(RING, sealed, row_id="row", column="column") == SECRET
