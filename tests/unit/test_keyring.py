"""Key rings: what a key file must be, what its refusals say and keep to themselves, and how one is made."""

import base64
import copy
import hashlib
import hmac
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.keyring import (
    KeyFileError,
    KeyFileExistsError,
    KeyRing,
    UnknownKeyError,
    create,
    digest,
    digesting,
    from_text,
    load,
    next_id,
    put_first,
)

OLD = bytes(range(32))
NEW = bytes(range(32, 64))
OLD_TEXT = base64.b64encode(OLD).decode()
NEW_TEXT = base64.b64encode(NEW).decode()
WHAT = "the pepper file"
RING = KeyRing({"k2": NEW, "k1": OLD})


def key_file(folder: Path, content: str, mode: int = 0o600) -> Path:
    """Write a key file as an operator would."""
    path = folder / "peppers"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    return path


def test_the_first_key_writes_and_all_can_be_read() -> None:
    """Comments, blank lines and Windows line ends are skipped, and order is kept."""
    ring = from_text(f"# the peppers of the café\r\n\r\n  k2:{NEW_TEXT}\r\nk1:{OLD_TEXT}", WHAT)
    assert (ring.writing_id, ring.ids) == ("k2", ("k2", "k1"))
    assert (ring.key("k1"), ring.key("k2"), ring.key("k3")) == (OLD, NEW, None)


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        ("", "holds no key", "openssl rand -base64 32"),
        ("# nothing yet\n", "holds no key", "id:base64(32 bytes)"),
        (OLD_TEXT, "line 1 does not start with an id", "id:base64(32 bytes)"),
        (f"K1:{OLD_TEXT}", "line 1 does not start with an id", "lower-case"),
        (f"{'k' * 33}:{OLD_TEXT}", "does not start with an id", "up to 32"),
        (f"\nk1:{OLD_TEXT}\nk2:{NEW_TEXT[:-1]}", "line 3: what follows the id is not base64", "openssl rand"),
        (f"k1:{OLD_TEXT} # mine", "line 1: what follows the id is not base64", "openssl rand"),
        (f"k1:{OLD_TEXT[:-1]}é", "line 1: what follows the id is not base64", "openssl rand"),
        ("k1:", "line 1: the key is 0 bytes", "must be 32"),
        (f"k1:{base64.b64encode(OLD[:31]).decode()}", "line 1: the key is 31 bytes", "must be 32"),
        (f"k1:{OLD_TEXT}\nk1:{NEW_TEXT}", "line 2: an earlier line has the same id", "its own"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_is_right(text: str, wrong: str, right: str) -> None:
    """Each fault of a file's text is named with its line and its remedy, and no key is quoted."""
    with pytest.raises(KeyFileError) as caught:
        from_text(text, WHAT)
    message = str(caught.value)
    assert message.startswith(WHAT)
    assert wrong in message
    assert right in message
    assert OLD_TEXT[:8] not in message
    assert NEW_TEXT[:8] not in message


@given(st.binary(min_size=32, max_size=32), st.integers(0, 47), st.characters())
def test_no_refusal_quotes_a_damaged_line(key: bytes, place: int, character: str) -> None:
    """Whichever character of a line is damaged, a refusal holds no eight characters of its key in a row."""
    line = f"k1:{base64.b64encode(key).decode()}\n"
    try:
        from_text(line[:place] + character + line[place + 1 :], WHAT)
    except KeyFileError as error:
        message = str(error)
        assert not any(line[start : start + 8] in message for start in range(3, 40))


def test_a_private_file_is_loaded(tmp_path: Path) -> None:
    """A file of mode 0600 gives its ring."""
    assert load(key_file(tmp_path, f"k1:{OLD_TEXT}\n"), WHAT).key("k1") == OLD


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o777])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Any permission of group or world is refused with the command that mends it."""
    path = key_file(tmp_path, f"k1:{OLD_TEXT}\n", mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}.*run: chmod 600 {path}"):
        load(path, WHAT)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is named with what it must hold."""
    with pytest.raises(KeyFileError, match=r"the pepper file .*/none does not exist; it must hold one key a line"):
        load(tmp_path / "none", WHAT)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A path that cannot be opened is refused with the system's own reason."""
    path = tmp_path / "loop"
    path.symlink_to(path)
    with pytest.raises(KeyFileError, match="cannot be read"):
        load(path, WHAT)


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path) -> None:
    """A directory is refused, and so is a named pipe, without waiting for its writer."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (tmp_path, pipe):
        with pytest.raises(KeyFileError, match="not a regular file"):
            load(path, WHAT)


def test_a_binary_or_huge_file_is_refused(tmp_path: Path) -> None:
    """A file of raw bytes or of more than 64 KiB cannot be a key file."""
    path = key_file(tmp_path, "")
    path.write_bytes(b"\xff" * 32)
    with pytest.raises(KeyFileError, match="not UTF-8 text"):
        load(path, WHAT)
    path.write_bytes(b"#" * 65_537)
    with pytest.raises(KeyFileError, match="larger than"):
        load(path, WHAT)


def test_a_created_file_is_private_and_loads(tmp_path: Path) -> None:
    """A new file has mode 0600 from the start, holds one key, and leaves no draft beside it."""
    path = tmp_path / "peppers"
    ring = create(path, os.urandom)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (ring.ids, load(path, WHAT).key("k1")) == (("k1",), ring.key("k1"))
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_never_replaced(tmp_path: Path) -> None:
    """The second of two creators is told to load what the first one wrote."""
    path = tmp_path / "peppers"
    first = create(path, os.urandom)
    with pytest.raises(KeyFileExistsError, match="left as it is"):
        create(path, os.urandom)
    assert load(path, WHAT).key("k1") == first.key("k1")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    """A file is not created where its folder does not exist."""
    with pytest.raises(KeyFileError, match="cannot be created"):
        create(tmp_path / "none" / "peppers", os.urandom)


def test_a_ring_shows_its_ids_only() -> None:
    """The representation of a ring names ids and no key."""
    assert repr(RING) == "KeyRing(ids=('k2', 'k1'))"


def test_a_ring_cannot_be_pickled_or_deep_copied() -> None:
    """What would carry the keys elsewhere fails."""
    with pytest.raises(TypeError):
        pickle.dumps(RING)
    with pytest.raises(TypeError):
        copy.deepcopy(RING)


def test_a_ring_of_no_or_short_keys_is_refused() -> None:
    """No code path can make a ring that writes under a weak key."""
    for keys in ({}, {"k1": bytes(31)}):
        with pytest.raises(ValueError, match="at least one key"):
            KeyRing(keys)


def test_a_ring_keeps_its_own_copy() -> None:
    """Changing the mapping that a ring was made of does not change the ring."""
    keys = {"k1": OLD}
    ring = KeyRing(keys)
    keys["k2"] = NEW
    assert ring.ids == ("k1",)


def test_a_derived_ring_keeps_ids_and_order() -> None:
    """Only the keys of a derived ring differ from those of its origin."""
    derived = RING.derived(lambda key: key[::-1])
    assert (derived.ids, derived.key("k1")) == (RING.ids, OLD[::-1])


@given(st.text())
def test_a_digest_is_hmac_sha256_under_the_named_pepper(secret: str) -> None:
    """A digest is RFC 2104's HMAC of the UTF-8 text, and a look-up has one for each pepper, the writing one first."""
    expected = [hmac.new(key, secret.encode(), hashlib.sha256).digest() for key in (NEW, OLD)]
    assert digesting(RING)(secret) == expected
    assert digest(RING, secret, pepper_id="k1") == expected[1]


def test_a_digest_of_a_lone_surrogate_is_no_error() -> None:
    """Text that UTF-8 cannot hold still has a digest of its own."""
    assert digest(RING, "\udcff", pepper_id="k1") != digest(RING, "?", pepper_id="k1")


def test_a_digest_under_an_unknown_pepper_is_refused() -> None:
    """A pepper that is not loaded is an error that names those that are."""
    with pytest.raises(UnknownKeyError, match="loaded are k2, k1"):
        digest(RING, "entri_hunter2", pepper_id="k9")


def test_another_key_of_a_ring_may_write() -> None:
    """The ring has the same keys, that one first; a key that is not there is an error."""
    ring = RING.writing_with("k1")
    assert (ring.ids, ring.key("k2")) == (("k1", "k2"), NEW)
    assert RING.writing_with("k2").ids == RING.ids
    with pytest.raises(KeyError):
        RING.writing_with("k3")


def test_a_ring_may_read_the_keys_of_another() -> None:
    """Its own keys come first and win."""
    ring = KeyRing({"k3": NEW, "k1": NEW}).reading_too(RING)
    assert (ring.ids, ring.key("k1"), ring.key("k2")) == (("k3", "k1", "k2"), NEW, NEW)


def test_a_new_key_is_put_before_the_others(tmp_path: Path) -> None:
    """Comments stay where they are, the file stays private, and no draft is left beside it."""
    path = key_file(tmp_path, f"# ours\n\nk2:{NEW_TEXT}\n# the first one\nk1:{OLD_TEXT}")
    put_first(path, WHAT, "k3", random_bytes=os.urandom)
    ring = load(path, WHAT)
    assert (ring.ids, ring.key("k2"), ring.key("k1")) == (("k3", "k2", "k1"), NEW, OLD)
    lines = path.read_text().splitlines()
    assert [lines[n] for n in (0, 1, 3, 4, 5)] == ["# ours", "", f"k2:{NEW_TEXT}", "# the first one", f"k1:{OLD_TEXT}"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_is_put_where_a_link_leads(tmp_path: Path) -> None:
    """A link to the file stays one."""
    path, link = key_file(tmp_path, f"k1:{OLD_TEXT}\n"), tmp_path / "link"
    link.symlink_to(path)
    put_first(link, WHAT, "k2", random_bytes=os.urandom)
    assert link.is_symlink()
    assert load(path, WHAT).ids == ("k2", "k1")


def test_a_file_that_cannot_be_used_gets_no_key(tmp_path: Path) -> None:
    """One that has the id, is open to others or is not there stays as it is, and the message says why."""
    path = key_file(tmp_path, f"k1:{OLD_TEXT}\n")
    with pytest.raises(KeyFileError, match="has a key k1 already"):
        put_first(path, WHAT, "k1", random_bytes=os.urandom)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="open to other users"):
        put_first(path, WHAT, "k2", random_bytes=os.urandom)
    with pytest.raises(KeyFileError, match="does not exist"):
        put_first(tmp_path / "none", WHAT, "k2", random_bytes=os.urandom)
    assert path.read_text() == f"k1:{OLD_TEXT}\n"


def test_a_file_that_is_written_halfway_stays_as_it_was(tmp_path: Path) -> None:
    """Where the new file cannot take the old one's place nothing of it is left."""
    path = key_file(tmp_path, f"k1:{OLD_TEXT}\n")

    def broken(size: int) -> bytes:
        if size < 32:
            raise OSError(28, "No space left on device")
        return bytes(size)

    with pytest.raises(KeyFileError, match="cannot be written"):
        put_first(path, WHAT, "k2", random_bytes=broken)
    assert path.read_text() == f"k1:{OLD_TEXT}\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("known", "named"),
    [((), "k1"), (("k1",), "k2"), (("k1", "k10", "k9"), "k11"), (("mine", "k01", "kk3", "k2x"), "k1")],
)
def test_a_new_key_is_named_after_the_highest_number(known: tuple[str, ...], named: str) -> None:
    """Ids that people gave count for nothing."""
    assert next_id(known) == named
