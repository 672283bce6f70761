"""Denials are spread out: a few come at once, a flood waits, and more than that is turned away."""

import asyncio

import pytest

from service.pacing import BURST_S, LONGEST_DELAY_S, DenialsOverloadError, Pace

A_SECOND = 1000


class Time:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Read it."""
        return self.now_s


async def waits(pace: Pace) -> bool:
    """Say whether a denial has to wait; it then goes away."""
    task = asyncio.ensure_future(pace.wait())
    await asyncio.sleep(0)
    if task.done():
        task.result()
        return False
    task.cancel()
    return True


async def test_a_few_come_at_once() -> None:
    """After a pause a burst is answered without a delay, and what follows it waits."""
    time = Time()
    pace = Pace(A_SECOND, time)
    burst = int(BURST_S * A_SECOND)
    for _ in range(2):
        assert [await waits(pace) for _ in range(burst)] == [False] * burst
        assert await waits(pace)
        time.now_s += 10


async def test_as_many_as_allowed_never_wait() -> None:
    """At the pace itself nothing is delayed, for however long."""
    time = Time()
    pace = Pace(A_SECOND, time)
    for _ in range(5 * A_SECOND):
        assert not await waits(pace)
        time.now_s += 1.001 / A_SECOND


async def test_a_flood_is_turned_away() -> None:
    """No more wait than are answered within the longest delay; when those have been, others may."""
    time = Time()
    pace = Pace(A_SECOND, time)
    most = int((BURST_S + LONGEST_DELAY_S) * A_SECOND)
    for _ in range(most):
        await waits(pace)
    for _ in range(100):
        with pytest.raises(DenialsOverloadError):
            await pace.wait()
    time.now_s += LONGEST_DELAY_S
    await waits(pace)
