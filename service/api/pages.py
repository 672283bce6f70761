"""Pages of connections: the arguments they take and what they mean. Must never use OFFSET or read more than a page."""

from dataclasses import dataclass
from typing import Annotated, Final

import strawberry

from service.api.errors import ApiError

DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 100

First = Annotated[int | None, strawberry.argument(description="How many to read forward: 1 to 100, 50 by default.")]
After = Annotated[str | None, strawberry.argument(description="Read what comes after this cursor.")]
Last = Annotated[int | None, strawberry.argument(description="How many to read backward: 1 to 100.")]
Before = Annotated[str | None, strawberry.argument(description="Read what comes before this cursor.")]


@strawberry.type(description="Where a page lies in its connection.")
class PageInfo:
    """Where a page lies."""

    has_next_page: bool = strawberry.field(description="Whether there is more after this page.")
    has_previous_page: bool = strawberry.field(description="Whether there is more before this page.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first edge.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last edge.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which page was asked for: `size` rows after (or, backward, before) a cursor, or from the end."""

    size: int
    backward: bool
    cursor: str | None

    def info(self, cursors: list[str], *, more: bool) -> PageInfo:
        """Say where the page lies, given its cursors in order and whether one more row was found beyond it."""
        beyond = self.cursor is not None
        return PageInfo(
            has_next_page=beyond if self.backward else more,
            has_previous_page=more if self.backward else beyond,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        )


def page_of(first: int | None, after: str | None, last: int | None, before: str | None) -> Page:
    """Read the four arguments of a connection. Raises ApiError BAD_USER_INPUT for what does not go together."""
    if first is not None and last is not None:
        raise ApiError("BAD_USER_INPUT", "give first (with after) or last (with before), not both")
    backward = last is not None or (before is not None and first is None)
    if (before if not backward else after) is not None:
        raise ApiError("BAD_USER_INPUT", "after goes with first, before goes with last")
    size = last if last is not None else DEFAULT_PAGE if first is None else first
    if not 1 <= size <= LARGEST_PAGE:
        name = "last" if backward else "first"
        raise ApiError("BAD_USER_INPUT", f"{name} must be between 1 and {LARGEST_PAGE}")
    return Page(size=size, backward=backward, cursor=before if backward else after)
