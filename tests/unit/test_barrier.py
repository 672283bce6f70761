"""The barrier: for whom a restriction waits, until when at most, and what it says of how it was reached."""

import pytest

from service.barrier import Barrier, Fence, Member
from service.lease import MARGIN_S, longest_wait_s

POSITION = 10
READ_S = 100.0


def member(incarnation: str, applied: int, *, lease_s: float = 2.0, renewals: int = 1) -> Member:
    """Make a row of the registry."""
    return Member(incarnation=incarnation, lease_s=lease_s, renewals=renewals, applied=applied)


def barrier(*registry: Member) -> Barrier:
    """Begin to wait for the change at position 10, committed at 99.5 s."""
    return Barrier(POSITION, registry, committed_s=99.5, read_s=READ_S)


def test_an_empty_registry_is_waited_for_no_longer() -> None:
    """Where no process verifies, a restriction holds at once."""
    empty = barrier()
    assert empty.is_done(READ_S)
    assert empty.fence(READ_S) == Fence(processes=0, acknowledged=0, waited_out=0, took_ms=500.0)


def test_who_had_applied_it_when_the_registry_was_read_is_not_waited_for() -> None:
    """A row that says that its node has applied the change, or more, is as good as an acknowledgement."""
    there = barrier(member("a", POSITION), member("b", POSITION + 5))
    assert there.is_done(READ_S)
    assert there.fence(READ_S) == Fence(processes=2, acknowledged=2, waited_out=0, took_ms=500.0)


def test_it_is_done_when_all_have_acknowledged() -> None:
    """Each node has to have applied the change itself: one before it is not enough, nor is another node's word."""
    waiting = barrier(member("a", 9), member("b", 0))
    waiting.acknowledged("a", POSITION)
    waiting.acknowledged("b", POSITION - 1)
    waiting.acknowledged("stranger", POSITION)
    assert not waiting.is_done(READ_S)
    waiting.acknowledged("b", POSITION + 3)
    assert waiting.is_done(READ_S)
    assert waiting.waited_out() == []


def test_an_acknowledgement_counts_once() -> None:
    """The same message again, or an older one that comes late, changes nothing."""
    waiting = barrier(member("a", 9), member("b", 9))
    for applied in (POSITION, POSITION, 3):
        waiting.acknowledged("a", applied)
    assert [silent.incarnation for silent in waiting.waited_out()] == ["b"]
    assert waiting.fence(READ_S + 1).acknowledged == 1


def test_the_registry_read_again_tells_what_messages_did_not() -> None:
    """A row with more applied counts as an acknowledgement, and who has left holds no lease; new ones are not added."""
    waiting = barrier(member("applied", 9), member("gone", 9), member("behind", 9))
    waiting.polled([member("applied", POSITION), member("behind", 9, renewals=2), member("new", 0)])
    assert [silent.incarnation for silent in waiting.waited_out()] == ["behind"]
    waiting.polled([member("behind", POSITION), member("new", 0)])
    assert waiting.is_done(READ_S)
    assert waiting.fence(READ_S).processes == 3


def test_an_evicted_nodes_successor_is_not_taken_for_it() -> None:
    """A process that joined again does so under another name: its old name is gone from the registry."""
    waiting = barrier(member("a.1", 9))
    waiting.polled([member("a.2", 9)])
    assert waiting.is_done(READ_S)


def test_it_ends_when_no_lease_can_last_any_longer() -> None:
    """The wait counts from when the registry was read, by the longest lease, both clocks' drift and a margin."""
    waiting = barrier(member("short", 9, lease_s=0.5), member("long", 9, lease_s=4.0))
    assert waiting.ends_s == pytest.approx(READ_S + 4 * 1.02 + MARGIN_S)
    assert not waiting.is_done(waiting.ends_s - 0.001)
    assert waiting.is_done(waiting.ends_s)


def test_only_who_is_waited_for_makes_it_longer() -> None:
    """The long lease of a node that has applied the change already does not count."""
    waiting = barrier(member("short", 9, lease_s=0.5), member("long", POSITION, lease_s=30.0))
    assert waiting.ends_s == pytest.approx(READ_S + longest_wait_s([0.5]))


def test_the_longest_wait_outlasts_a_lease_on_the_slowest_clock() -> None:
    """A node gives up its lease early by its clock's drift, and is waited for longer by both clocks'."""
    lease_s, drift = 30.0, 0.01
    held_s_at_most = lease_s * (1 - drift) / (1 - drift)
    waited_s_at_least = longest_wait_s([lease_s], drift) / (1 + drift)
    assert waited_s_at_least > held_s_at_most
    assert longest_wait_s([]) == 0.0


def test_who_was_waited_out_is_told_as_it_was_counted() -> None:
    """The rows of who stayed silent are as they were at first, so that one that has renewed since is not evicted."""
    waiting = barrier(member("silent", 9, renewals=7), member("quick", 9))
    waiting.acknowledged("quick", POSITION)
    waiting.polled([member("silent", 9, renewals=8), member("quick", POSITION)])
    assert waiting.waited_out() == [member("silent", 9, renewals=7)]
    fence = waiting.fence(waiting.ends_s + 0.5)
    assert (fence.processes, fence.acknowledged, fence.waited_out) == (2, 1, 1)
    assert fence.took_ms == pytest.approx((2 * 1.02 + MARGIN_S + 1.0) * 1000)


def test_who_has_acknowledged_prolongs_nothing() -> None:
    """The wait ends with the longest lease among those who are still silent."""
    waiting = barrier(member("long", 0, lease_s=30.0), member("short", 0, lease_s=0.5))
    assert waiting.ends_s == READ_S + longest_wait_s([30.0])
    waiting.acknowledged("long", POSITION)
    assert waiting.ends_s == READ_S + longest_wait_s([0.5])
    assert not waiting.is_done(waiting.ends_s - 0.001)
    assert waiting.is_done(waiting.ends_s)
