"""The reference says what the code says."""

import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from events.refusals import RefusalCode
from service.api.errors import Code
from service.credential import Failure
from service.secret_format import DEFAULT_PREFIX, generate, is_well_formed
from tests.docs.conftest import Running

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
ROW = re.compile(r"^\| `(?P<name>\w+)` \|(?P<rest>.*)\|$", re.MULTILINE)


def section(page: str, heading: str) -> str:
    """Read what stands under a heading."""
    _, found, text = (REFERENCE / page).read_text(encoding="utf-8").partition(f"# {heading}\n")
    assert found, heading
    return text.partition("\n#")[0]


def test_the_generated_parts_are_what_the_code_says() -> None:
    """Settings, commands, event types, scopes and limits: `python docs/generate.py` writes them anew."""
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("heading", "codes"),
    [
        ("Error codes", set(typing.get_args(Code))),
        ("User error codes", {code.value for code in RefusalCode}),
        ("Verification failures", {failure.value for failure in Failure}),
    ],
)
def test_every_code_has_its_meaning(heading: str, codes: set[str]) -> None:
    """List each code of the API once, and none that is not there."""
    listed = [row["name"] for row in ROW.finditer(section("graphql.md", heading))]
    assert sorted(listed) == sorted(codes)


def test_every_metric_is_listed(running: Running) -> None:
    """Compare names, types and meanings with what a running service answers."""
    answered = running.get("/metrics")
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", answered, re.MULTILINE))
    meanings = dict(re.findall(r"^# HELP (\S+) (.*)$", answered, re.MULTILINE))
    expected = {(name, types[name], meanings[name]) for name in types if not name.endswith("_created")}
    rows = ROW.finditer(section("metrics.md", "Metrics"))
    cells = [(row["name"], [cell.strip() for cell in row["rest"].split("|")]) for row in rows]
    assert {(name, kind, meaning) for name, (kind, _, meaning) in cells} == expected


def test_the_check_of_a_secrets_form_says_what_ours_says() -> None:
    """Run the example of the page about secrets on good ones and on broken ones."""
    example: dict[str, typing.Any] = {}
    page = (REFERENCE / "secret-format.md").read_text(encoding="utf-8")
    exec(page.partition("```python\n")[2].partition("```")[0], example)
    good = generate(DEFAULT_PREFIX, os.urandom).reveal()
    for text in (good, good[:-1], good.swapcase(), good.replace("entri_", "other_"), good[:-1] + "é", ""):
        assert example["is_well_formed"](text) is is_well_formed(DEFAULT_PREFIX, text)
