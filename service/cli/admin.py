"""`entri admin`: what only the operator may do. Must never print a secret but the one that a command issues."""

import click

from events.identifiers import prefix_of
from events.members import MemberRole
from events.token_kinds import TokenKind
from events.tokens import CreateToken
from projections.organizations import find_organization
from service.authorization import operator
from service.cli.running import DATABASE_OPTIONS, KEY_OPTIONS, accepted, examples, run, settings_options
from service.core import Core, open_core
from service.member_decisions import MemberDone
from service.settings import Settings


@click.group(
    epilog=examples(
        'entri admin organization create "Acme"',
        "entri admin token create --organization org_… --name ci --scope tokens:read",
        "entri admin member create --organization org_… --email grace@example.com --name Grace --role OWNER",
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
            await require_organization(core, organization_id)
            command = CreateToken(token_id="", kind=TokenKind.API_TOKEN, name=name, hint="", scopes=scopes)
            done = accepted(await core.commands.create(operator(organization_id), command))
            if done.secret is not None:
                click.echo(done.secret.reveal())

    run(options, work)


async def require_organization(core: Core, organization_id: str) -> None:
    """End with why, unless there is such an organization."""
    if prefix_of(organization_id) != "org" or await find_organization(core.pool, organization_id) is None:
        raise click.ClickException("there is no such organization: give the id that its creation printed")


@admin.group(
    epilog=examples(
        "entri admin member create --organization org_… --email grace@example.com --name Grace --role OWNER",
        "entri admin member reset-password mem_…",
        "entri admin member forget mem_…",
    )
)
def member() -> None:
    """Make members, give them new passwords, and forget former ones."""


@member.command(
    "create",
    epilog=examples(
        "entri admin member create --organization org_… --email grace@example.com --name Grace --role OWNER"
    ),
)
@click.option("--organization", "organization_id", required=True, help="The organization's id (org_…).")
@click.option("--email", required=True, help="The address to sign in with.")
@click.option("--name", required=True, help="What people call the member.")
@click.option(
    "--role",
    required=True,
    type=click.Choice([role.value for role in MemberRole], case_sensitive=False),
    help="Its role.",
)
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def create_member(organization_id: str, email: str, name: str, role: str, **options: str | None) -> None:
    """Make a member; prints a one-time password alone, once: to be changed at the first sign-in, within seven days."""

    async def work(settings: Settings) -> None:
        async with open_core(settings) as core:
            await require_organization(core, organization_id)
            done = await core.members.create(organization_id, email=email, name=name, role=MemberRole(role.upper()))
            tell_password(accepted(done))

    run(options, work)


@member.command("reset-password", epilog=examples("entri admin member reset-password mem_…"))
@click.argument("member_id")
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def reset_password(member_id: str, **options: str | None) -> None:
    """End a member's sessions and password; prints a one-time password alone, once."""

    async def work(settings: Settings) -> None:
        async with open_core(settings) as core:
            tell_password(accepted(await core.members.reset_password(member_id)))

    run(options, work)


@member.command("forget", epilog=examples("entri admin member forget mem_…"))
@click.argument("member_id")
@settings_options(*DATABASE_OPTIONS, *KEY_OPTIONS)
def forget(member_id: str, **options: str | None) -> None:
    """Erase the name and the address of a member who was removed; the history keeps the id."""

    async def work(settings: Settings) -> None:
        async with open_core(settings) as core:
            accepted(await core.members.forget(member_id))
            click.echo("forgotten", err=True)

    run(options, work)


def tell_password(done: MemberDone) -> None:
    """Print a one-time password alone on standard output, and whose it is on standard error."""
    click.echo(f"member: {done.member_id}", err=True)
    if done.one_time_password is not None:
        click.echo(done.one_time_password.reveal())
