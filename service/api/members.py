"""Members in the API: the type and its connection. Must never hold a password, or one who was removed."""

from datetime import datetime

import strawberry

from service.api.context import ApiInfo, Context
from service.api.enums import MemberRole
from service.api.nodes import Node
from service.api.pages import Page, PageInfo
from service.member_queries import MemberPageQuery, MemberView


@strawberry.type(description="A person who belongs to the organization.")
class Member(Node):
    """A person who belongs to the organization."""

    email: str = strawberry.field(description="The e-mail address, with which the member signs in.")
    name: str = strawberry.field(description="What the member is called.")
    role: MemberRole = strawberry.field(description="What the member may do.")
    created_at: datetime = strawberry.field(description="When the person became a member.")
    last_signed_in_at: datetime | None = strawberry.field(
        description="When the member signed in last; null: never. A moment behind."
    )


@strawberry.type(description="A member's place in a connection.")
class MemberEdge:
    """A member's place."""

    cursor: str = strawberry.field(description="Marks the place, for `after` and `before`.")
    node: Member = strawberry.field(description="The member.")


@strawberry.type(description="A page of the organization's members.")
class MemberConnection:
    """A page of members."""

    edges: list[MemberEdge] = strawberry.field(description="The members of the page with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies.")

    @strawberry.field(description="The members of the page.")
    def nodes(self) -> list[Member]:
        """Give the members without their cursors."""
        return [edge.node for edge in self.edges]

    @strawberry.field(description="How many members there are in all; counted only when selected.")
    async def total_count(self, info: ApiInfo) -> int:
        """Count the members."""
        context = info.context
        return await context.services.queries.members.count(context.caller.principal)


def member_of(view: MemberView | None) -> Member | None:
    """Show a member, if there is one."""
    return None if view is None else shown_member(view)


def shown_member(view: MemberView) -> Member:
    """Show a member."""
    return Member(
        id=strawberry.ID(view.id),
        email=view.email,
        name=view.name,
        role=view.role,
        created_at=view.created_at,
        last_signed_in_at=view.last_signed_in_at,
    )


async def members_page(context: Context, page: Page) -> MemberConnection:
    """Read a page of the organization's members, the newest first."""
    cursors = context.cursors
    after = None if page.cursor is None else cursors.member_place(page.cursor)
    query = MemberPageQuery(descending=not page.backward, after=after, limit=page.size + 1)
    views = await context.services.queries.members.page(context.caller.principal, query)
    shown = views[: page.size]
    if page.backward:
        shown.reverse()
    marks = [cursors.of_member(view.created_at, view.id) for view in shown]
    return MemberConnection(
        edges=[MemberEdge(cursor=mark, node=shown_member(view)) for mark, view in zip(marks, shown, strict=True)],
        page_info=page.info(marks, more=len(views) > page.size),
    )
