"""`entri schema`."""

import click

from service.cli.running import examples


@click.command(epilog=examples("entri schema > schema.graphql"))
def schema() -> None:
    """Print the GraphQL schema."""
    from service.api.schema import make_schema  # noqa: PLC0415 -- only this command needs it

    click.echo(make_schema().as_str())
