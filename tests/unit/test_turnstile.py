"""The turnstile: few at a time, in order, and no more waiting than there is room for."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from service.hashing import HashingOverloadError
from service.turnstile import MOST_TURNED_AWAY, Turnstile


async def pass_through(turnstile: Turnstile, number: int, inside: list[int], *, leave: asyncio.Event) -> None:
    """Go in, and stay until told to leave."""
    async with turnstile.passed():
        inside.append(number)
        await leave.wait()


async def settled() -> None:
    """Let every task run as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_few_at_a_time_in_order() -> None:
    """Whoever came first goes in when a place is free, and the others after."""
    turnstile, inside, leave = Turnstile(places=2, most_waiting=9, wait_s=10), list[int](), asyncio.Event()
    tasks = [asyncio.create_task(pass_through(turnstile, number, inside, leave=leave)) for number in range(5)]
    await settled()
    assert inside == [0, 1]
    tasks[0].cancel()
    await settled()
    assert inside == [0, 1, 2]
    leave.set()
    await asyncio.gather(*tasks[1:])
    assert inside == [0, 1, 2, 3, 4]


async def test_one_who_gives_up_waiting_takes_no_place() -> None:
    """Nor is the room that it waited in lost."""
    turnstile = Turnstile(places=1, most_waiting=1, wait_s=10)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(turnstile.passed())
        for _ in range(3):
            waiting = asyncio.create_task(pass_through(turnstile, 0, [], leave=asyncio.Event()))
            await settled()
            waiting.cancel()
            await asyncio.wait([waiting])
    async with asyncio.timeout(1), turnstile.passed():
        pass


async def test_nobody_waits_for_ever() -> None:
    """Who finds no place in time is told so, and the next one gets it."""
    turnstile = Turnstile(places=1, most_waiting=1, wait_s=0.01)
    async with turnstile.passed():
        with pytest.raises(HashingOverloadError, match="others signed in all the time"):
            await pass_through(turnstile, 0, [], leave=asyncio.Event())
    async with turnstile.passed():
        pass


async def test_beyond_the_waiting_one_is_turned_away_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at once, or it would be back at once; but where many are on their way out already, at once."""
    monkeypatch.setattr("service.turnstile.TURNED_AWAY_AFTER_S", (3_600, 3_600))
    turnstile, inside = Turnstile(places=1, most_waiting=1, wait_s=10), list[int]()
    never = asyncio.Event()
    tasks = [
        asyncio.create_task(pass_through(turnstile, number, inside, leave=never))
        for number in range(2 + MOST_TURNED_AWAY)
    ]
    await settled()
    assert not any(task.done() for task in tasks)
    with pytest.raises(HashingOverloadError, match="too many"):
        await pass_through(turnstile, -1, inside, leave=never)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert inside == [0]
