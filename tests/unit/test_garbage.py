"""Passes of the garbage collector look at what came since the last: not at all that is remembered."""

import asyncio
import gc

from service.garbage import ENOUGH, set_aside, setting_aside


class Kept:
    """Something that the collector looks at."""


async def test_what_is_held_is_set_aside_and_freed_all_the_same() -> None:
    """What was there is out of the collector's sight while the process runs, and back in it afterwards."""
    kept = [Kept() for _ in range(100)]
    added = 0
    async with setting_aside(lambda: added):
        assert gc.is_tracked(kept[0])
        assert not any(one is kept[0] for one in gc.get_objects())
        added = ENOUGH
        later = Kept()
        assert any(one is later for one in gc.get_objects())
        async with asyncio.timeout(10):
            while any(one is later for one in gc.get_objects()):  # noqa: ASYNC110 -- nothing else tells
                await asyncio.sleep(0.01)
    assert any(one is later for one in gc.get_objects())


def test_garbage_is_not_set_aside() -> None:
    """A cycle that nothing refers to is collected first."""
    one, other = Kept(), Kept()
    one.other, other.other = other, one  # type: ignore[attr-defined]  # a cycle is all that matters here
    ids = {id(one), id(other)}
    del one, other
    set_aside()
    gc.unfreeze()
    assert not any(id(found) in ids and isinstance(found, Kept) for found in gc.get_objects())
