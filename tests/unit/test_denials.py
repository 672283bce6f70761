"""Unknown keys are remembered for a moment, and no more of them than there is room for."""

from service.denials import MOST_DENIALS, REMEMBERED_S, Denials

STEP_S = 0.001


class Time:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Read it."""
        return self.now_s


def test_an_unknown_key_is_remembered_for_a_moment() -> None:
    """It is held until its moment is over, and the one beside it never was."""
    time = Time()
    denials = Denials(time)
    denials.add(b"unknown")
    assert (denials.holds(b"unknown"), denials.holds(b"another")) == (True, False)
    time.now_s += REMEMBERED_S - STEP_S
    assert denials.holds(b"unknown")
    time.now_s += STEP_S
    assert not denials.holds(b"unknown")


def test_a_key_found_unknown_again_is_remembered_anew() -> None:
    """The moment begins with the last time, and the key is held once."""
    time = Time()
    denials = Denials(time)
    for _ in range(3):
        denials.add(b"unknown")
        time.now_s += REMEMBERED_S - STEP_S
        assert denials.holds(b"unknown")
    assert len(denials) == 1


def test_there_is_room_for_so_many() -> None:
    """A flood of keys takes the place of the oldest, and a key that is there already takes nobody's."""
    denials = Denials(Time())
    digests = [number.to_bytes(32, "big") for number in range(MOST_DENIALS + 2)]
    for digest in digests[:MOST_DENIALS]:
        denials.add(digest)
    denials.add(digests[5])
    assert all(map(denials.holds, digests[:MOST_DENIALS]))
    for digest in digests[MOST_DENIALS:]:
        denials.add(digest)
    assert len(denials) == MOST_DENIALS
    assert [denials.holds(digest) for digest in (*digests[:3], digests[-1])] == [False, False, True, True]
