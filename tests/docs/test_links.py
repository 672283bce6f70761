"""Every relative link of the documentation leads to a file, and every anchor to a heading."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "bench/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)\s]*)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def prose(path: Path) -> str:
    """Read a page without its blocks of code."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Name the places of a page that a link can lead to, as GitHub names them."""
    headings = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(path))]
    return {heading.replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    """Follow each link of a page."""
    here = ROOT / page
    for link in LINK.findall(prose(here)):
        name, _, anchor = link.partition("#")
        target = (here.parent / name).resolve() if name else here
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_led_to() -> None:
    """Find no page of the documentation that nothing links to."""
    linked = {
        (ROOT / page).parent.joinpath(link.partition("#")[0]).resolve()
        for page in PAGES
        for link in LINK.findall(prose(ROOT / page))
    }
    assert [page for page in PAGES if page.startswith("docs/") and ROOT / page not in linked] == []
