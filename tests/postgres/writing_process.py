"""A process of its own that appends to the log as a service does: what two of them do at once is what is tested.

It says `ready` when it is connected, waits for a line, works, and says what came of it in one line of JSON.
"""

import asyncio
import json
import sys

import asyncpg

from events.batch import Append, Appended, VersionConflict
from events.envelope import Version
from events.statement import Connection
from events.writer import LogWriter
from tests.postgres.appends import decided, ids, observed


async def say(text: str) -> None:
    """Write a line for the process that started this one."""
    await asyncio.to_thread(print, text, flush=True)


def command(name: str, number: int, organizations: int) -> Append:
    """Make one of a mixture: decisions on the writer's streams, one event or more, and uses of tokens."""
    organization = f"org_{(number * 7 + len(name)) % organizations}"
    if number % 3 == 2:
        return observed(f"tok_{name}", organization=organization, events=1 + number % 4)
    return decided(f"tok_{name}_{number}", organization=organization, events=1 + number % 2)


async def append_many(writer: LogWriter, options: dict[str, int | str]) -> list[list[object]]:
    """Append from several callers at once; answer the ids of each command with its last positions."""
    acknowledged: list[list[object]] = []

    async def caller(name: str) -> None:
        for number in range(int(options["commands"])):
            append = command(name, number, int(options["organizations"]))
            outcome = await writer.append(append, deadline_s=60)
            if not isinstance(outcome, Appended):
                raise TypeError(f"{name} {number}: {outcome}")
            acknowledged.append([ids([append]), outcome.position, outcome.organization_position])

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(options["callers"])):
            tasks.create_task(caller(f"{options['name']}_{number}"))
    return acknowledged


async def race(writer: LogWriter, options: dict[str, int | str]) -> list[list[object]]:
    """Win versions of one stream against everybody else; answer which versions each caller won, by what event."""
    won: list[list[object]] = []
    last = int(options["versions"])

    async def caller() -> None:
        version = Version(0)
        while version < last:
            append = decided("tok_raced", version)
            match await writer.append(append, deadline_s=60):
                case Appended():
                    won.append([version + 1, append.events[0].event_id])
                    version = Version(version + 1)
                case VersionConflict(version=current):
                    version = current

    async with asyncio.TaskGroup() as tasks:
        for _ in range(int(options["callers"])):
            tasks.create_task(caller())
    return won


async def main() -> None:
    """Do what the arguments say."""
    options: dict[str, int | str] = json.loads(sys.argv[1])

    async def connect() -> Connection:
        return await asyncpg.connect(str(options["dsn"]))

    async with LogWriter(connect, partition_size=int(options["partition_size"])) as writer:
        await say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        work = {"append": append_many, "race": race}[str(options["work"])]
        await say(json.dumps(await work(writer, options)))


if __name__ == "__main__":
    asyncio.run(main())
