"""The verified cache: what it keeps, what goes first, and that a token's entries are all found."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from service.verified_cache import SLACK, Entry, VerifiedCache

FOREVER = float("inf")
ALL_DIGESTS = [b"a", b"b", b"c", b"d", b"e"]
DIGESTS = st.sampled_from(ALL_DIGESTS)
TOKENS = st.sampled_from(["t1", "t2", "t3"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), DIGESTS, TOKENS),
        st.tuples(st.just("get"), DIGESTS, TOKENS),
        st.tuples(st.just("evict"), DIGESTS, TOKENS),
        st.tuples(st.sampled_from(["get", "get", "clear"]), DIGESTS, TOKENS),
    ),
    max_size=40,
)


def entry(token: str, proved: str = "good") -> Entry[str]:
    """Make an entry that does not end by itself."""
    return Entry(token, proved, FOREVER)


def proved(cache: VerifiedCache[str], digest: bytes) -> str | None:
    """Look up what is remembered."""
    found = cache.get(digest)
    return None if found is None else found.proved


def test_what_was_put_is_found_by_its_digest_alone() -> None:
    """An entry is found by its whole digest, with its token and its deadline, and by no other."""
    cache = VerifiedCache[str]()
    cache.put(b"digest", Entry("t1", "good", 12.5))
    found = cache.get(b"digest")
    assert found is not None
    assert (found.subject, found.proved, found.deadline_s) == ("t1", "good", 12.5)
    assert cache.get(b"diges") is None
    assert cache.get(b"digest2") is None
    assert len(cache) == 1


def test_what_was_not_used_goes_first() -> None:
    """A full cache lets go of what was not looked up since it came, and stays as large as it may be."""
    cache = VerifiedCache[str](capacity=2)
    cache.put(b"used", entry("t1"))
    cache.put(b"unused", entry("t2"))
    cache.get(b"used")
    cache.put(b"new", entry("t3"))
    assert cache.get(b"unused") is None
    assert cache.get(b"used") is not None
    assert cache.get(b"new") is not None
    assert len(cache) == 2


def test_a_cache_whose_entries_are_all_in_use_still_makes_room() -> None:
    """Where every entry was looked up, the one that came first goes, and what is new is kept."""
    cache = VerifiedCache[str](capacity=3)
    for digest in (b"1", b"2", b"3"):
        cache.put(digest, entry("t1"))
        cache.get(digest)
    cache.put(b"4", entry("t2"))
    assert [proved(cache, digest) for digest in (b"1", b"2", b"3", b"4")] == [None, "good", "good", "good"]


def test_what_is_put_again_takes_its_own_place() -> None:
    """A full cache lets go of nothing for a digest that it holds already, and answers what was put last."""
    cache = VerifiedCache[str](capacity=2)
    cache.put(b"one", entry("t1", "before"))
    cache.put(b"two", entry("t2"))
    cache.put(b"one", entry("t1", "after"))
    assert len(cache) == 2
    assert proved(cache, b"one") == "after"
    assert proved(cache, b"two") == "good"


def test_a_secret_that_changes_hands_is_found_by_its_new_token() -> None:
    """What was known of a digest before is replaced with the token it belonged to."""
    cache = VerifiedCache[str]()
    cache.put(b"digest", entry("t1"))
    cache.put(b"digest", entry("t2"))
    cache.evict("t1")
    assert proved(cache, b"digest") == "good"
    cache.evict("t2")
    assert len(cache) == 0


def test_what_comes_and_goes_leaves_nothing_behind() -> None:
    """Entries that changes evict, over and over, do not make the order in which they would have to go any longer."""
    cache = VerifiedCache[str](capacity=4)
    for number in range(3 * SLACK):
        cache.put(number.to_bytes(2, "big"), entry("t1"))
        cache.evict("t1")
    assert len(cache) == 0
    assert len(cache._order) <= SLACK + 2
    assert cache._digests == {}


def test_both_secrets_of_a_token_are_evicted() -> None:
    """A change of a token that is being rotated evicts the old secret and the new one, and nobody else's."""
    cache = VerifiedCache[str]()
    cache.put(b"previous", entry("t1"))
    cache.put(b"other", entry("t2"))
    cache.put(b"current", entry("t1"))
    cache.evict("t1")
    assert cache.get(b"previous") is None
    assert cache.get(b"current") is None
    assert cache.get(b"other") is not None


def test_what_lost_one_secret_still_evicts_the_other() -> None:
    """A token of whose two entries one had to make room is found by the other."""
    cache = VerifiedCache[str](capacity=2)
    cache.put(b"previous", entry("t1"))
    cache.put(b"current", entry("t1"))
    cache.put(b"other", entry("t2"))
    assert cache.get(b"previous") is None
    cache.evict("t1")
    assert cache.get(b"current") is None
    assert len(cache) == 1


def test_a_token_nothing_is_remembered_of_may_be_evicted() -> None:
    """Most changes are of tokens that a process has never seen, or has forgotten already."""
    cache = VerifiedCache[str]()
    cache.evict("t1")
    cache.put(b"digest", entry("t1"))
    cache.evict("t1")
    cache.evict("t1")
    assert len(cache) == 0


def test_a_cleared_cache_holds_nothing_and_can_be_filled() -> None:
    """After everything was forgotten the cache works as if it were new."""
    cache = VerifiedCache[str]()
    cache.put(b"one", entry("t1"))
    cache.put(b"two", entry("t1"))
    cache.clear()
    assert len(cache) == 0
    assert cache.get(b"one") is None
    cache.put(b"two", entry("t1"))
    cache.evict("t1")
    assert len(cache) == 0


def expect_index(cache: VerifiedCache[str]) -> None:
    """Expect that each token leads to all of its entries, each once, and to no others, and that each gets its turn."""
    by_token = defaultdict(list)
    for digest, kept in cache._entries.items():
        by_token[kept.subject].append(digest)
    assert cache._digests.keys() == by_token.keys()
    assert all(sorted(cache._of(subject)) == sorted(digests) for subject, digests in by_token.items())
    assert set(cache._order) >= set(cache._entries)


@given(STEPS, st.integers(1, len(ALL_DIGESTS)))
def test_the_index_by_token_always_matches_the_entries(steps: list[tuple[str, bytes, str]], capacity: int) -> None:
    """Whatever is done: no more than may be is remembered, only what was put last and neither evicted nor cleared.

    Where there is room for all, all of that is remembered.
    """
    cache = VerifiedCache[str](capacity=capacity)
    expected: dict[bytes, tuple[str, str]] = {}
    for number, (what, digest, token) in enumerate(steps):
        match what:
            case "put":
                cache.put(digest, entry(token, str(number)))
                expected[digest] = (token, str(number))
                assert proved(cache, digest) == str(number)
            case "get":
                cache.get(digest)
            case "evict":
                cache.evict(token)
                expected = {key: kept for key, kept in expected.items() if kept[0] != token}
            case _:
                cache.clear()
                expected.clear()
        remembered = {key: (kept.subject, kept.proved) for key, kept in cache._entries.items()}
        assert remembered.items() <= expected.items()
        assert len(cache) <= capacity
        assert capacity < len(ALL_DIGESTS) or remembered == expected
        expect_index(cache)
