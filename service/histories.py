"""The histories that commands about tokens are decided on. Must never answer with one of another organization."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from events import applications, tokens
from events.api_secrets import stream_of_api_secrets
from events.applications import stream_of_application
from events.entry import RecordedEvent
from events.envelope import StreamId, Version
from events.identifiers import prefix_of
from events.log import read_stream
from events.statement import Pool
from events.token_kinds import TokenKind, stream_of_api_token
from projections.tokens import Home, find_home
from service.aggregates import Aggregate, Application, Command, LoneToken, application, lone_token, secrets

Fold = Callable[[Sequence[RecordedEvent]], Aggregate]

NEW: Final = Version(0)
NOWHERE: Final = StreamId("token-")


class History(NamedTuple):
    """A stream, its version, and what its events amount to."""

    stream: StreamId
    version: Version
    aggregate: Aggregate


async def read_history(pool: Pool, organization: str, command: Command) -> History:
    """Read what a command is decided on; what is new, and what the organization has not, is empty."""
    match command:
        case tokens.CreateToken(kind=TokenKind.API_SECRET):
            return await read_secrets(pool, organization)
        case tokens.CreateToken():
            return History(stream=stream_of_api_token(command.token_id), version=NEW, aggregate=LoneToken())
        case applications.CreateApplication():
            stream = stream_of_application(command.application_id)
            return History(stream=stream, version=NEW, aggregate=Application())
        case applications.UpdateApplication() | applications.DeleteApplication():
            return await read_application(pool, organization, command.application_id)
        case _:
            return await read_token(pool, organization, command.token_id)


async def read_token(pool: Pool, organization: str, token_id: str) -> History:
    """Read the stream that a token is on. That of an API token follows from its id, of others from their row."""
    if prefix_of(token_id) != "tok":
        return nothing()
    stream = stream_of_api_token(token_id)
    if recorded := await read_stream(pool, stream):
        return history(stream, recorded, organization, lone_token)
    match await find_home(pool, organization, token_id):
        case Home(kind=TokenKind.CLIENT_SECRET, application_id=str(application_id)):
            return await read_application(pool, organization, application_id)
        case Home(kind=TokenKind.API_SECRET):
            return await read_secrets(pool, organization)
        case _:
            return nothing()


async def read_secrets(pool: Pool, organization: str) -> History:
    """Read the stream that the organization's API secrets share."""
    stream = stream_of_api_secrets(organization)
    return history(stream, await read_stream(pool, stream), organization, secrets)


async def read_application(pool: Pool, organization: str, application_id: str) -> History:
    """Read the stream of an application and its client secret."""
    if prefix_of(application_id) != "app":
        return nothing()
    stream = stream_of_application(application_id)
    return history(stream, await read_stream(pool, stream), organization, application)


def history(stream: StreamId, recorded: list[RecordedEvent], organization: str, fold: Fold) -> History:
    """Fold a stream, if it is the organization's."""
    if recorded and recorded[0].organization != organization:
        return nothing()
    return History(stream=stream, version=Version(len(recorded)), aggregate=fold(recorded))


def nothing() -> History:
    """Answer for what does not exist, or is another's: every command on it is refused."""
    return History(stream=NOWHERE, version=NEW, aggregate=LoneToken())
