"""The connection of applications, and how a document sees what it changed itself."""

import asyncpg
import pytest

from tests.api.conftest import Issued, Json, Service

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def names(service: Service, by: Issued, **variables: object) -> tuple[list[str], Json]:
    """Read a page of applications."""
    document = (
        "query ($first: Int, $after: String, $last: Int, $before: String) "
        "{ applications(first: $first, after: $after, last: $last, before: $before) "
        "{ nodes { name } edges { cursor } totalCount "
        "pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"
    )
    page = (await service.gql(by.key, document, variables)).data["applications"]
    return [node["name"] for node in page["nodes"]], page


async def test_pages_join_up_both_ways(service: Service) -> None:
    """The newest first: two at a time forward, and backward from the end, give the whole list."""
    admin = await service.token("*:*")
    wanted = [f"app {number}" for number in range(5)]
    for name in wanted:
        await service.application(organization=admin.organization, name=name)
    await service.application(name="elsewhere")
    whole, page = await names(service, admin)
    assert (whole, page["totalCount"]) == (wanted[::-1], 5)
    for size, cursor, mark, more in (
        ("first", "after", "endCursor", "hasNextPage"),
        ("last", "before", "startCursor", "hasPreviousPage"),
    ):
        pages, place = [], None
        while True:
            found, page = await names(service, admin, **{size: 2, cursor: place})
            pages.append(found)
            place = page["pageInfo"][mark]
            if not page["pageInfo"][more]:
                break
        assert [name for one in (pages if size == "first" else pages[::-1]) for name in one] == whole


async def test_a_cursor_of_another_connection_is_refused(service: Service) -> None:
    """A token's or an event's cursor marks no place among applications, nor another organization's."""
    admin, other = await service.token("*:*"), await service.token("*:*")
    for one in (admin, other):
        await service.application(organization=one.organization)
    pages = "pageInfo { endCursor }"
    shown = (
        await service.gql(admin.key, f"{{ tokens {{ {pages} }} events {{ {pages} }} applications {{ {pages} }} }}")
    ).data
    foreign = (await names(service, other))[1]["edges"][0]["cursor"]
    ask = "query ($c: String!) { applications(after: $c) { nodes { id } } }"
    for cursor in (shown["tokens"]["pageInfo"]["endCursor"], shown["events"]["pageInfo"]["endCursor"], foreign, "x"):
        assert (await service.gql(admin.key, ask, {"c": cursor})).codes == ["INVALID_CURSOR"]
    own = shown["applications"]["pageInfo"]["endCursor"]
    for connection in ("tokens", "events"):
        answer = await service.gql(
            admin.key, f"query ($c: String!) {{ {connection}(after: $c) {{ nodes {{ id }} }} }}", {"c": own}
        )
        assert answer.codes == ["INVALID_CURSOR"]


async def test_a_document_sees_its_own_changes(service: Service) -> None:
    """What a mutation changed is read anew by the next one in the same document."""
    admin = await service.token("*:*")
    application = await service.application(organization=admin.organization, name="first")
    document = (
        "mutation ($id: ID!, $t: ID!) {"
        ' a: updateApplication(input: {id: $id, name: "second"}) { application { name clientSecret { name } } }'
        ' b: updateToken(input: {id: $t, name: "key"}) { token { name application { name clientSecret { name } } } }'
        ' c: updateApplication(input: {id: $id, name: "third"}) { application { name clientSecret { name } } } }'
    )
    given = {"id": application.id, "t": application.token_id}
    data = (await service.gql(admin.key, document, given)).data
    assert data["a"]["application"] == {"name": "second", "clientSecret": {"name": "first"}}
    assert data["b"]["token"]["application"] == {"name": "second", "clientSecret": {"name": "key"}}
    assert data["c"]["application"] == {"name": "third", "clientSecret": {"name": "key"}}


async def test_events_are_found_by_what_they_are_about(service: Service) -> None:
    """`subjectIds` finds an application's events; together with `tokenIds` both must hold."""
    admin = await service.token("*:*")
    application = await service.application(organization=admin.organization)
    ask = "query ($f: EventFilter) { events(filter: $f, order: OLDEST_FIRST) { nodes { type } } }"
    for given, types in (
        ({"subjectIds": [application.id]}, ["ApplicationCreated"]),
        ({"subjectIds": [application.id, application.token_id]}, ["ApplicationCreated", "TokenCreated"]),
        ({"subjectIds": [application.token_id], "tokenIds": [application.token_id]}, ["TokenCreated"]),
        ({"subjectIds": [application.id], "tokenIds": [application.token_id]}, []),
        ({"subjectIds": []}, []),
    ):
        nodes = (await service.gql(admin.key, ask, {"f": given})).data["events"]["nodes"]
        assert [node["type"] for node in nodes] == types


async def test_the_service_itself_cannot_write_applications(service: Service) -> None:
    """Its role in the database reads the table; only an append changes it."""
    for statement in (
        "update applications set name = 'x'",
        "delete from applications",
        "select write_applications('[]')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await service.entrances.core.pool.execute(statement)
