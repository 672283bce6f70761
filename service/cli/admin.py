"""`entri admin`: what only the operator may do. Must never print a secret but the one that a command issues."""

import click

from events.identifiers import prefix_of
from events.token_kinds import TokenKind
from events.tokens import CreateToken
from projections.organizations import find_organization
from service.app import open_core
from service.authorization import operator
from service.cli.running import DATABASE_OPTIONS, KEY_OPTIONS, accepted, examples, run, settings_options
from service.settings import Settings


@click.group(
    epilog=examples(
        'entri admin organization create "Acme"',
        "entri admin token create --organization org_… --name ci --scope tokens:read",
    )
)
def admin() -> None:
    """Do what only the operator may: with the database's own credentials, from its host."""


@admin.group(epilog=examples('entri admin organization create "Acme"'))
def organization() -> None:
    """Make organizations."""


@organization.command("create", epilog=examples('entri admin organization create "Acme"'))
@click.argument("name")
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def create_organization(name: str, **options: str | None) -> None:
    """Create an organization; prints its id."""

    async def work(settings: Settings) -> None:
        async with open_core(settings) as core:
            click.echo(accepted(await core.organizations.create(name)))

    run(options, work)


@admin.group("token", epilog=examples("entri admin token create --organization org_… --name ci --scope tokens:read"))
def token_group() -> None:
    """Make tokens."""


@token_group.command(
    "create",
    epilog=examples(
        "entri admin token create --organization org_… --name ci --scope tokens:read --scope tokens:verify"
    ),
)
@click.option("--organization", "organization_id", required=True, help="The organization's id (org_…).")
@click.option("--name", required=True, help="What people call the token.")
@click.option("--scope", "scopes", multiple=True, help="What it may do, such as tokens:read; may be repeated.")
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def create_token(organization_id: str, name: str, scopes: tuple[str, ...], **options: str | None) -> None:
    """Issue an API token; prints its secret alone, once."""

    async def work(settings: Settings) -> None:
        async with open_core(settings) as core:
            known = prefix_of(organization_id) == "org" and await find_organization(core.pool, organization_id)
            if not known:
                raise click.ClickException("there is no such organization: give the id that its creation printed")
            command = CreateToken(token_id="", kind=TokenKind.API_TOKEN, name=name, hint="", scopes=scopes)
            done = accepted(await core.commands.create(operator(organization_id), command))
            if done.secret is not None:
                click.echo(done.secret.reveal())

    run(options, work)
