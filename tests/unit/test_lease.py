"""The lease: when a process may rely on its memory, and what follows from messages and from the answers to renewals."""

from dataclasses import dataclass, field, replace

import pytest

from service.lease import Change, Clock, Heard, Invalidation, Node, RenewalAnswer, Renewed
from service.verified_cache import Entry, VerifiedCache

FOREVER = float("inf")
LEASE_S = 2.0
HELD_S = LEASE_S * 0.99
"""By the node's own clock, which may be slow."""


@dataclass
class Times:
    """Two clocks that are set by hand."""

    steady_s: float = 1000.0
    wall_s: float = 5000.0

    def pass_by(self, for_s: float) -> None:
        """Let time pass, as it does on both."""
        self.steady_s += for_s
        self.wall_s += for_s


@dataclass
class Living:
    """A node, its clocks, and what it remembers."""

    times: Times = field(default_factory=Times)
    cache: VerifiedCache[str] = field(default_factory=VerifiedCache)

    def __post_init__(self) -> None:
        """Build the node, outside of any registry."""
        clock = Clock(steady=lambda: self.times.steady_s, wall=lambda: self.times.wall_s)
        self.node = Node(self.cache, clock, lease_s=LEASE_S)

    def renew(self, answer: RenewalAnswer) -> Renewed:
        """Renew, answered at once."""
        return self.node.renewed(self.node.begin_renewal(), answer)

    def holds_lease(self) -> bool:
        """Say whether the node may rely on its memory now."""
        return self.node.holds_lease

    def recalls(self, token: str) -> bool:
        """Say whether the entry of a token is relied on now."""
        return self.node.recall(token.encode()) is not None


def answered(epoch: int, *subjects: str, history: str = "1", is_registered: bool = True) -> RenewalAnswer:
    """Answer a renewal with the last changes, one for each subject."""
    changes = tuple(Change(epoch - len(subjects) + number, subject) for number, subject in enumerate(subjects, 1))
    return RenewalAnswer(is_registered=is_registered, epoch=epoch, history=history, changes=changes)


def told(first: int, last: int, *subjects: str) -> Invalidation:
    """Make a message."""
    return Invalidation(first=first, last=last, subjects=subjects)


@pytest.fixture
def living() -> Living:
    """Have a node that has applied 5 changes, holds a lease, and remembers t1, t2 and t3."""
    living = Living()
    living.node.joined("inc1", 5, "1")
    assert living.renew(answered(5)) is Renewed.HELD
    for token in ("t1", "t2", "t3"):
        living.node.remember(token.encode(), Entry(token, "good", FOREVER))
    return living


def test_nothing_is_relied_on_before_the_first_renewal() -> None:
    """A row in the registry comes first, then the lease: what is proved before that is not remembered."""
    living = Living()
    assert not living.holds_lease()
    living.node.joined("inc1", 5, "1")
    assert not living.holds_lease()
    living.node.remember(b"t1", Entry("t1", "good", FOREVER))
    assert len(living.cache) == 0


def test_only_a_member_renews() -> None:
    """A process that is in no registry has nothing to renew, and waits for nobody's messages."""
    living = Living()
    with pytest.raises(RuntimeError, match="only a node of the registry renews"):
        living.node.begin_renewal()
    assert living.node.heard(told(1, 1, "t1")) is Heard.NOTHING
    assert living.node.applied == 0


def test_a_lease_counts_from_when_the_renewal_was_sent(living: Living) -> None:
    """However long the answer took, the lease ends as if it had come at once, and a little sooner for a slow clock."""
    renewal = living.node.begin_renewal()
    living.times.pass_by(1.5)
    assert living.node.renewed(renewal, answered(5)) is Renewed.HELD
    living.times.pass_by(HELD_S - 1.5 - 0.001)
    assert living.holds_lease()
    assert living.recalls("t1")
    living.times.pass_by(0.002)
    assert not living.holds_lease()
    assert not living.recalls("t1")


def test_an_answer_that_took_longer_than_a_lease_gives_none(living: Living) -> None:
    """A process that was stopped while its renewal was answered wakes up without a lease."""
    renewal = living.node.begin_renewal()
    living.times.pass_by(LEASE_S)
    assert living.node.renewed(renewal, answered(5)) is Renewed.HELD
    assert not living.recalls("t1")


@pytest.mark.parametrize("set_by_s", [3600.0, HELD_S])
def test_the_time_of_day_ends_a_lease_sooner(living: Living, set_by_s: float) -> None:
    """A host whose steady clock stood still while it was frozen is found out by its time of day."""
    living.times.wall_s += set_by_s
    assert not living.holds_lease()
    assert not living.recalls("t1")
    assert living.renew(answered(5)) is Renewed.HELD
    assert living.recalls("t1")


def test_the_time_of_day_never_makes_a_lease_longer(living: Living) -> None:
    """A time of day that was set back leaves the steady clock's word."""
    living.times.wall_s -= 3600
    assert living.recalls("t1")
    living.times.pass_by(HELD_S)
    assert not living.recalls("t1")


def test_an_entry_ends_at_its_own_deadline(living: Living) -> None:
    """What ends by itself is not relied on from that moment on, inside the lease as well."""
    living.node.remember(b"soon", Entry("soon", "good", living.times.steady_s + 1))
    living.times.pass_by(0.999)
    assert living.recalls("soon")
    living.times.pass_by(0.001)
    assert not living.recalls("soon")
    assert living.recalls("t1")


def test_a_message_that_follows_is_applied_and_acknowledged(living: Living) -> None:
    """The tokens it names are forgotten before it is acknowledged; others are not."""
    assert living.node.heard(told(6, 7, "t1", "t3")) is Heard.ACKNOWLEDGE
    assert living.node.applied == 7
    assert not living.recalls("t1")
    assert living.recalls("t2")
    assert not living.recalls("t3")


def test_a_message_that_is_known_is_acknowledged_again(living: Living) -> None:
    """Who restricted something may have missed the first acknowledgement; nothing else follows from it."""
    assert living.node.heard(told(4, 5, "t1")) is Heard.ACKNOWLEDGE
    assert living.node.applied == 5
    assert living.recalls("t1")


def test_a_message_that_overlaps_is_applied_whole(living: Living) -> None:
    """One that begins with what is known and goes on has no gap before it."""
    assert living.node.heard(told(5, 6, "t1", "t2")) is Heard.ACKNOWLEDGE
    assert living.node.applied == 6
    assert not living.recalls("t2")


@pytest.mark.parametrize("message", [told(7, 7, "t1"), Invalidation(first=6, last=900, subjects=None)])
def test_a_gap_is_renewed_over_and_not_acknowledged(living: Living, message: Invalidation) -> None:
    """Where changes are missing, or too many to name, the renewal brings them; until then nothing counts as applied."""
    assert living.node.heard(message) is Heard.RENEW
    assert living.node.applied == 5
    assert living.node.begin_renewal().applied == 5


def test_a_renewal_brings_what_was_missed(living: Living) -> None:
    """The changes since then are applied, and the lease is extended after that."""
    assert living.node.heard(told(7, 7, "t2")) is Heard.RENEW
    assert living.renew(answered(7, "t1", "t2")) is Renewed.HELD
    assert living.node.applied == 7
    assert [living.recalls(token) for token in ("t1", "t2", "t3")] == [False, False, True]


def test_messages_may_overtake_a_renewal(living: Living) -> None:
    """What was heard while the renewal was on its way stays applied, and its answer is no history lost."""
    renewal = living.node.begin_renewal()
    assert living.node.heard(told(6, 8, "t1")) is Heard.ACKNOWLEDGE
    assert living.node.renewed(renewal, answered(7, "t1", "t1")) is Renewed.HELD
    assert living.node.applied == 8
    assert living.recalls("t2")


def test_changes_that_are_cut_short_clear_all(living: Living) -> None:
    """Where there are more changes than were read, nothing that is remembered may stay."""
    answer = answered(900, "t1", "t1")
    assert living.renew(answer) is Renewed.HELD
    assert living.node.applied == 900
    assert len(living.cache) == 0
    assert living.holds_lease()


def test_an_evicted_node_forgets_everything(living: Living) -> None:
    """A renewal that finds no row ends the membership: nothing is remembered until there is a new one."""
    assert living.renew(answered(5, is_registered=False)) is Renewed.EVICTED
    assert living.node.incarnation is None
    assert not living.holds_lease()
    assert len(living.cache) == 0
    living.node.remember(b"t1", Entry("t1", "good", FOREVER))
    assert len(living.cache) == 0


@pytest.mark.parametrize("answer", [answered(4), answered(5, history="2"), answered(9, "t1", history="2")])
def test_a_lost_history_is_found_and_nothing_kept(living: Living, answer: RenewalAnswer) -> None:
    """Fewer changes than were applied, or another history with however many, end the membership and the memory."""
    assert living.renew(answer) is Renewed.HISTORY_LOST
    assert living.node.incarnation is None
    assert not living.holds_lease()
    assert len(living.cache) == 0


def test_the_answer_to_an_earlier_incarnation_is_ignored(living: Living) -> None:
    """A renewal that was sent before the node joined anew gives no lease, and takes none."""
    renewal = living.node.begin_renewal()
    living.node.joined("inc2", 6, "1")
    assert living.node.renewed(renewal, answered(6, "t1")) is Renewed.STALE
    assert not living.holds_lease()
    assert living.renew(answered(6)) is Renewed.HELD
    assert living.node.renewed(renewal, answered(5, is_registered=False)) is Renewed.STALE
    assert living.holds_lease()


def test_who_joins_anew_begins_with_nothing(living: Living) -> None:
    """What an earlier incarnation remembered may have been changed while nobody told it."""
    living.node.joined("inc2", 3, "2")
    assert (living.node.incarnation, living.node.applied, len(living.cache)) == ("inc2", 3, 0)
    assert not living.holds_lease()


def test_who_leaves_relies_on_nothing(living: Living) -> None:
    """A process that stops gives up its lease before its row is removed."""
    living.node.leave()
    assert not living.holds_lease()
    assert not living.recalls("t1")


def test_a_read_is_decided_on_only_while_it_is_current(living: Living) -> None:
    """Not when it shows less than was applied meanwhile, nor when it is older than a lease."""
    sent_s = living.times.steady_s
    assert living.node.is_current(5, sent_s, "inc1")
    assert living.node.heard(told(6, 6, "t1")) is Heard.ACKNOWLEDGE
    assert not living.node.is_current(5, sent_s, "inc1")
    assert living.node.is_current(6, sent_s, "inc1")
    assert living.node.is_current(7, sent_s, "inc1")
    living.times.pass_by(LEASE_S + 0.001)
    assert not living.node.is_current(7, sent_s, "inc1")


def test_a_read_of_another_incarnation_is_not_decided_on(living: Living) -> None:
    """Epochs of two histories do not compare, so nothing that was read before the node joined anew counts after."""
    sent_s = living.times.steady_s
    assert not living.node.is_current(9, sent_s, None)
    assert living.renew(answered(4, history="2")) is Renewed.HISTORY_LOST
    assert not living.node.is_current(9, sent_s, "inc1")
    living.node.joined("inc2", 4, "2")
    assert not living.node.is_current(9, sent_s, "inc1")
    assert living.node.is_current(4, sent_s, "inc2")


def test_a_process_without_a_membership_decides_on_what_it_reads() -> None:
    """Where no lease can be had every key is read, and a read is still good."""
    living = Living()
    assert living.node.is_current(0, living.times.steady_s, None)


def test_a_stop_between_look_up_and_clock_is_noticed() -> None:
    """The clock is read after the entry was found, so that a process that stood still in between does not accept."""
    times = Times()

    class Stopping(VerifiedCache[str]):
        def get(self, digest: bytes) -> Entry[str] | None:
            """Find it, and stop for longer than a lease."""
            entry = super().get(digest)
            times.pass_by(LEASE_S)
            return entry

    living = Living(times=times, cache=Stopping())
    living.node.joined("inc1", 0, "1")
    living.renew(answered(0))
    living.node.remember(b"t1", Entry("t1", "good", FOREVER))
    assert not living.recalls("t1")


def test_a_renewal_says_what_was_applied_when_it_was_sent(living: Living) -> None:
    """The row in the registry must never promise what is not applied, so the reading is from before the sending."""
    renewal = living.node.begin_renewal()
    assert living.node.heard(told(6, 6, "t1")) is Heard.ACKNOWLEDGE
    assert (renewal.incarnation, renewal.applied) == ("inc1", 5)
    assert (renewal.sent_s, renewal.sent_wall_s) == (living.times.steady_s, living.times.wall_s)
    assert replace(renewal, applied=6) == living.node.begin_renewal()
