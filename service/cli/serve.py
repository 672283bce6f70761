"""`entri serve`. Must never print a secret but the first token's, once."""

import asyncio
import os
import signal

import click

from service.app import serving
from service.cli.running import examples, run, settings_options, tell_signals
from service.settings import Settings, given
from service.supervisor import supervise


@click.command(
    epilog=examples(
        "entri serve",
        "entri serve --port 9090 --data-dir /var/lib/entri",
        "ENTRI_DATABASE_URL=postgresql://entri@db/entri entri serve --host 0.0.0.0",
    )
)
@settings_options()
def serve(**options: str | None) -> None:
    """Serve GraphQL on /graphql, gateways on /verify, operators on /livez, /readyz and /metrics."""

    async def work(settings: Settings) -> None:
        try:
            if settings.workers > 1:
                await supervise(settings, {**os.environ, **given(options)})
            else:
                await serve_until_told(settings)
        except asyncio.CancelledError:
            click.echo("stopped before it served", err=True)

    run(options, work)


async def serve_until_told(settings: Settings) -> None:
    """Serve until a signal to stop; let those who route requests here notice when that comes from a supervisor."""
    async with serving(settings) as (entrances, url, first):
        told = tell_signals()
        if first is not None:
            click.echo(f"bootstrap token: {first.reveal()}")
        click.echo(f"serving {url}/graphql", err=True)
        if await told == signal.SIGTERM:
            entrances.draining.set()
            await asyncio.sleep(settings.drain_delay_s)
