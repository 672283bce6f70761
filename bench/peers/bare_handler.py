"""The least that an aiohttp server can do for an answer: the bytes of another's, from one handler. Must never do more.

`python -m bench.peers.bare_handler` reads the headers of its answers as JSON, prints its port, and serves until killed.
"""

import asyncio
import json
import sys

import uvloop
from aiohttp import web

from bench.serving import HOST


async def serve(headers: dict[str, str]) -> None:
    """Serve until killed."""

    async def verify(_: web.Request) -> web.Response:
        return web.Response(headers=headers)

    app = web.Application()
    app.add_routes([web.get("/verify", verify)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as main:
        main.run(serve(json.load(sys.stdin)))
