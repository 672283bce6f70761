"""Pages: what the four arguments of a connection mean together, and where a page says it lies."""

import pytest

from service.api.errors import ApiError
from service.api.pages import DEFAULT_PAGE, LARGEST_PAGE, Page, page_of

Arguments = tuple[int | None, str | None, int | None, str | None]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((None, None, None, None), Page(size=DEFAULT_PAGE, backward=False, cursor=None)),
        ((1, None, None, None), Page(size=1, backward=False, cursor=None)),
        ((LARGEST_PAGE, "c", None, None), Page(size=LARGEST_PAGE, backward=False, cursor="c")),
        ((None, "c", None, None), Page(size=DEFAULT_PAGE, backward=False, cursor="c")),
        ((None, None, 7, None), Page(size=7, backward=True, cursor=None)),
        ((None, None, 7, "c"), Page(size=7, backward=True, cursor="c")),
        ((None, None, None, "c"), Page(size=DEFAULT_PAGE, backward=True, cursor="c")),
        ((None, "", None, None), Page(size=DEFAULT_PAGE, backward=False, cursor="")),
    ],
)
def test_arguments_that_go_together(arguments: Arguments, expected: Page) -> None:
    """Forward with first and after, backward with last and before, fifty unless asked otherwise."""
    assert page_of(*arguments) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        (0, None, None, None),
        (-1, None, None, None),
        (LARGEST_PAGE + 1, None, None, None),
        (None, None, 0, None),
        (None, None, LARGEST_PAGE + 1, None),
        (1, None, 1, None),
        (1, None, None, "c"),
        (None, "c", 1, None),
        (None, "c", None, "c"),
    ],
)
def test_arguments_that_do_not(arguments: Arguments) -> None:
    """Sizes out of bounds and directions that are mixed are refused."""
    with pytest.raises(ApiError) as refused:
        page_of(*arguments)
    assert refused.value.code == "BAD_USER_INPUT"


@pytest.mark.parametrize(
    ("page", "more", "expected"),
    [
        (Page(size=2, backward=False, cursor=None), False, (False, False)),
        (Page(size=2, backward=False, cursor=None), True, (True, False)),
        (Page(size=2, backward=False, cursor="c"), True, (True, True)),
        (Page(size=2, backward=True, cursor=None), False, (False, False)),
        (Page(size=2, backward=True, cursor=None), True, (False, True)),
        (Page(size=2, backward=True, cursor="c"), False, (True, False)),
    ],
)
def test_a_page_knows_its_neighbours(page: Page, more: bool, expected: tuple[bool, bool]) -> None:  # noqa: FBT001 -- a parameter of the test
    """What lies on the far side was found; what lies behind is the cursor's own place."""
    info = page.info(["a", "b"], more=more)
    assert (info.has_next_page, info.has_previous_page) == expected
    assert (info.start_cursor, info.end_cursor) == ("a", "b")


def test_an_empty_page_has_no_cursors() -> None:
    """Where there are no edges there is no cursor to go on from."""
    info = Page(size=2, backward=False, cursor=None).info([], more=False)
    assert (info.start_cursor, info.end_cursor) == (None, None)
