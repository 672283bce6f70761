"""What every client has to do, whatever its library: as `scenario.mjs`, for the libraries of Python.

It runs in each client's own environment, so it must import the standard library only. Must never read the history but
through the client.
"""

import asyncio
import json
import os
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

SERVICE: Final = os.environ["SERVICE_URL"]
KEY: Final = os.environ["SERVICE_KEY"]
URL: Final = f"{SERVICE}/graphql"
SOCKET_URL: Final = URL.replace("http", "ws", 1)

_WRITTEN: Final = Path(__file__).with_name("operations.graphql").read_text(encoding="utf-8").split("\n\n")
OPERATIONS: Final = {text.split()[1].partition("(")[0]: text for text in _WRITTEN}
OPERATIONS["Wrong"] = "subscription Wrong { events { cursor nonsense } }"

Answer = dict[str, Any]
Edges = AsyncGenerator[Answer, None]
Follow = Callable[[str, Answer], Edges]


class Refused(Exception):  # noqa: N818 - not an error of ours: what the service said
    """The service said no; trying again does not help."""


class Disconnected(Exception):  # noqa: N818 - not an error of ours: what became of the connection
    """The connection is gone: going on after the last cursor helps, unless the close code says otherwise."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Client(Protocol):
    """A library, made to answer these. `name` is one of `OPERATIONS`."""

    async def request(self, name: str, variables: Answer) -> Answer:
        """Query or mutate; raise what the library raises."""

    def follow(self, key: str, name: str, variables: Answer) -> Edges:
        """Subscribe over a connection of its own; raise Refused or Disconnected."""


async def resuming(follow: Follow, name: str, variables: Answer) -> Edges:
    """Go on after the last cursor whenever the connection is gone, but not when the key is."""
    while True:
        try:
            async with aclosing(follow(name, variables)) as edges:
                async for edge in edges:
                    variables = {"after": edge["cursor"]}
                    yield edge
        except Disconnected as error:
            if error.code == 4401:
                raise
        await asyncio.sleep(0.2)


class Scenarios:
    """Each method is one scenario."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def query(self) -> None:
        """Ask who is asking."""
        viewer = (await self._client.request("Viewer", {}))["viewer"]
        assert viewer["scopes"] == ["*:*"]
        assert viewer["organization"]["id"].startswith("org_")

    async def mutation(self) -> None:
        """Issue a token, and be refused one."""
        created = await self._create(name="made by a client", scopes=["reports:read"])
        assert created["secret"].startswith("entri_")
        answer = await self._client.request("Create", {"input": {"name": " "}})
        assert [error["code"] for error in answer["createToken"]["userErrors"]] == ["INVALID"]

    async def resume(self) -> None:
        """Leave in the middle, come back with the last cursor, and end with the whole list."""
        for _ in range(5):
            await self._create()
        edges = await self._read("Follow", {"afterPosition": "0"}, count=3)
        until = (await self._create())["position"]
        edges += await self._read("Follow", {"after": edges[-1]["cursor"]}, until=until)
        await self._assert_whole(edges)

    async def tokens(self) -> None:
        """Follow the events of tokens alone."""
        position = (await self._create())["position"]
        (edge,) = await self._read("FollowTokens", {"afterPosition": str(int(position) - 1)}, count=1)
        assert (edge["node"]["type"], edge["node"]["position"]) == ("TokenCreated", position)

    async def errors(self) -> None:
        """Be told what is wrong with a subscription, the second time too."""
        for _ in range(2):
            for name, variables, said in (("Wrong", {}, "nonsense"), ("Follow", {"after": "nonsense"}, "cursor")):
                try:
                    await self._read(name, variables, count=1)
                except Refused as error:
                    assert said in str(error), error  # noqa: PT017 - these run without pytest
                else:
                    raise AssertionError("it was not refused")

    async def revoked(self) -> None:
        """Lose the key that is in use."""
        created = await self._create(scopes=["events:read"])
        edges = self._client.follow(created["secret"], "Follow", {"afterPosition": "0"})
        await anext(edges)
        await self._client.request("Revoke", {"id": created["token"]["id"]})
        try:
            async for _ in edges:
                pass
        except Disconnected as error:
            assert error.code == 4401, error  # noqa: PT017 - these run without pytest
        else:
            raise AssertionError("it ended without a word")

    async def restart(self) -> None:
        """Have the service restart in the middle, and be killed."""
        connections = 0

        def follow(name: str, variables: Answer) -> Edges:
            nonlocal connections
            connections += 1
            return self._client.follow(KEY, name, variables)

        until = (await self._create())["position"]
        edges = resuming(follow, "Follow", {"afterPosition": "0"})
        read = [edge async for edge in _until(edges, until)]
        for times, how in enumerate(("restart", "kill"), start=1):
            await ask(how)
            until = (await self._create())["position"]
            read += [edge async for edge in _until(edges, until)]
            assert connections > times, "the connection was not cut"
        await edges.aclose()
        await self._assert_whole(read)

    async def stalled(self) -> None:
        """Stand still while much happens, and miss nothing of it."""
        begin = (await self._create())["position"]
        edges = self._client.follow(KEY, "Follow", {"afterPosition": begin})
        read = [edge async for edge in _until(edges, (await self._create())["position"])]
        await ask("stall")
        read += [edge async for edge in _until(edges, (await self._create())["position"])]
        await edges.aclose()
        await self._assert_whole(read, after=int(begin))

    async def _create(self, **given: object) -> Answer:
        answer = await self._client.request("Create", {"input": {"name": "a token", **given}})
        created: Answer = answer["createToken"]
        assert created["userErrors"] == []
        return created

    async def _read(self, name: str, variables: Answer, *, count: int = 0, until: str = "0") -> list[Answer]:
        read: list[Answer] = []
        async with aclosing(self._client.follow(KEY, name, variables)) as edges:
            async for edge in edges:
                read.append(edge)
                if len(read) >= count and int(edge["node"]["position"]) >= int(until):
                    break
        return read

    async def _assert_whole(self, edges: list[Answer], after: int = 0) -> None:
        """Hold what was read against the whole list, as far as it was read."""
        read = [_place(edge) for edge in edges]
        whole: list[str] = []
        cursor, is_more = None, True
        while is_more:
            page = (await self._client.request("History", {"after": cursor}))["events"]
            whole += [_place(edge) for edge in page["edges"]]
            cursor, is_more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        assert read == list(islice(whole, after, after + len(read)))


def _place(edge: Answer) -> str:
    return f"{edge['node']['position']} {edge['node']['id']}"


async def _until(edges: Edges, position: str) -> Edges:
    async for edge in edges:
        yield edge
        if int(edge["node"]["position"]) >= int(position):
            return


def _say(**message: object) -> None:
    print(json.dumps(message), flush=True)


async def ask(what: str) -> None:
    """Have whoever runs this do something to the service or to this process."""
    _say(ask=what)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def play(client: Client) -> None:
    """Play every scenario with a client, and say how each went."""
    wanted = os.environ.get("SCENARIOS")
    for name, scenario in vars(Scenarios).items():
        if name.startswith("_") or (wanted and name not in wanted.split(",")):
            continue
        run: Awaitable[None] = scenario(Scenarios(client))
        try:
            async with asyncio.timeout(60):
                await run
        except Exception:  # noqa: BLE001 - whatever went wrong is told
            _say(scenario=name, passed=False, why=traceback.format_exc())
        else:
            _say(scenario=name, passed=True)
