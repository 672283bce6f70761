"""How every command is carried out: decided on its stream, appended, and decided again when others were faster.

Must never append anything for a refused command, nor decide anything itself.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from events.batch import ActorRestricted, Append, Appended, VersionConflict
from events.entry import NewEvent, new_event
from events.envelope import Circumstances, StreamId, Version
from events.identifiers import following_id
from events.refusals import Refusal, RefusalCode, Refused
from events.registry import Event
from events.writer import LogWriter
from service.authorization import Caller, RestrictedError

MOST_ATTEMPTS: Final = 5

Attempt = Callable[[], Awaitable[Append | Refused | None]]
"""Reads what is decided on, decides, and says what to append: nothing (None) where it is so already."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What was appended, and where it is."""

    append: Append
    outcome: Appended


async def carried_out(writer: LogWriter, attempt: Attempt) -> Committed | Refused | None:
    """Carry a command out: None when nothing had to be appended. Raises RestrictedError and what the writer raises."""
    for _ in range(MOST_ATTEMPTS):
        append = await attempt()
        if append is None or isinstance(append, Refused):
            return append
        match await writer.append(append):
            case Appended() as outcome:
                return Committed(append, outcome)
            case ActorRestricted():
                raise RestrictedError("what authorised this was revoked, was changed or has expired")
            case VersionConflict():
                continue
    return conflict()


def placed(
    decided: Sequence[Event],
    circumstances: Circumstances,
    *,
    at: tuple[StreamId, Version],
    event_id: str,
    random_bytes: Callable[[int], bytes],
) -> tuple[NewEvent, ...]:
    """Write what was decided at a version of a stream: the first event has the id given, the others derived ones."""
    stream, version = at
    return tuple(
        new_event(
            event,
            circumstances,
            event_id=following_id(event_id, number),
            placed=(stream, Version(version + number + 1)),
            random_bytes=random_bytes,
        )
        for number, event in enumerate(decided)
    )


def circumstances_of(caller: Caller, now: datetime) -> Circumstances:
    """Say under which circumstances a caller acts."""
    return Circumstances(
        organization=caller.principal.organization,
        actor=caller.principal.actor,
        at=now,
        address=caller.address,
        request_id=caller.request_id,
    )


def conflict() -> Refused:
    """Refuse because others kept changing the same meanwhile."""
    message = "this was changed by others at the same time: read it and try again"
    return Refused((Refusal(code=RefusalCode.CONFLICT, message=message),))
