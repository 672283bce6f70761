"""Every command of the README, the tutorial and the how-tos runs as it is printed, and prints what the page says.

The conventions of these pages:
- a block ```` ```sh ```` is run: all of a page in order, in one bash with `set -euo pipefail`;
- a block ```` ```sh no-run ```` is not, for what needs another machine; the README has none;
- a block ```` ```sh needs=NAME ```` is where there is such a program;
- a block ```` ```text ```` right after it is what it prints: `…` stands for any part of a line, alone for any lines;
- a block with `file=NAME` behind its language is written to that file before the page is run;
- a line `NAME=…` whose value holds `…` is for the reader to fill in, and here for a fixture.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.conftest import Running

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs/tutorial", "docs/how-to")
PAGES = ["README.md", *(str(p.relative_to(ROOT)) for folder in FOLDERS for p in sorted((ROOT / folder).glob("*.md")))]
ON_OWN_POSTGRESQL = {
    "docs/how-to/own-postgresql.md": (),
    "docs/how-to/back-up-and-restore.md": ("docs/how-to/own-postgresql.md",),
}
"""Pages that need a PostgreSQL and no running service, with the pages whose commands come before theirs."""
MAKE = ("make serve\n", "make test\n")
"""What the tests themselves stand for."""
FENCE = re.compile(r"^```(?P<language>\w+)(?P<words>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"^(?P<name>(?:export )?[A-Z_]+)=(?:\S*…\S*|http://127\.0\.0\.1:8080)$", re.MULTILINE)
END_OF_BLOCK = "\x1e"


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code, where it is, and what the page says that it prints."""

    place: str
    language: str
    words: tuple[str, ...]
    text: str
    output: str | None

    @property
    def is_run(self) -> bool:
        """Say whether it is a command to run."""
        needed = [word.removeprefix("needs=") for word in self.words if word.startswith("needs=")]
        is_wanted = "no-run" not in self.words and all(map(shutil.which, needed))
        return self.language == "sh" and is_wanted and self.text not in MAKE


def blocks(page: str) -> Iterator[Block]:
    """Read the blocks of a page, each with the output that follows it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    for number, this in enumerate(found):
        following = found[number + 1] if number + 1 < len(found) else None
        is_output = (
            following is not None
            and following["language"] == "text"
            and not text[this.end() : following.start()].strip()
        )
        yield Block(
            place=f"{page}:{text.count(chr(10), 0, this.start()) + 1}",
            language=this["language"],
            words=tuple(this["words"].split()),
            text=this["text"],
            output=following["text"] if following is not None and is_output else None,
        )


def prints(expected: str, output: str) -> bool:
    """Say whether an output is what a page says."""
    lines = [
        r"(?:[^\n]*\n)*?" if line == "…" else r"[^\n]*?".join(map(re.escape, line.split("…"))) + r"\n"
        for line in expected.rstrip("\n").split("\n")
    ]
    return re.fullmatch("".join(lines), output.replace("\r", "").rstrip("\n") + "\n") is not None


def filled_in(block: Block, values: Mapping[str, str]) -> str:
    """Put values in the place of what the reader fills in."""

    def value(match: re.Match[str]) -> str:
        name = match["name"].removeprefix("export ")
        assert name in values, f"{block.place}: nothing stands for {name}"
        return f"{match['name']}='{values[name]}'"

    return PLACEHOLDER.sub(value, block.text)


def run(commands: list[Block], folder: Path, values: Mapping[str, str], *, environment: Mapping[str, str]) -> None:
    """Run blocks in one bash, and hold what each prints against what its page says."""
    parts = [f"{filled_in(block, values)}printf '{END_OF_BLOCK}'\n" for block in commands]
    script = folder / "page.sh"
    script.write_text("".join(["set -euo pipefail\n", *parts]), encoding="utf-8")
    done = subprocess.run(
        ["bash", script],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    printed = done.stdout.split(END_OF_BLOCK)
    if done.returncode:
        failed = commands[len(printed) - 1]
        pytest.fail(f"{failed.place} ended with {done.returncode}:\n{printed[-1]}\n{done.stderr}")
    for block, output in zip(commands, printed, strict=False):
        if block.output is not None and not prints(block.output, output):
            pytest.fail(f"{block.place} says:\n{block.output}\nand it prints:\n{output}\n{done.stderr}")


def commands_of(page: str, folder: Path) -> list[Block]:
    """Read the commands of a page, and write the files that they use."""
    found = list(blocks(page))
    for block in found:
        for word in block.words:
            if word.startswith("file="):
                (folder / word.removeprefix("file=")).write_text(block.text, encoding="utf-8")
    return [block for block in found if block.is_run]


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ON_OWN_POSTGRESQL])
def test_every_command_of_a_page_runs_as_printed(
    page: str, running: Running, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Run a page from its first command to its last against a running service."""
    settings = {**environment, "ENTRI_DATA_DIR": str(running.data_dir)}
    run(commands_of(page, tmp_path), tmp_path, running.values(), environment=settings)


@pytest.mark.parametrize("page", ON_OWN_POSTGRESQL)
def test_every_command_about_a_database_runs_as_printed(
    page: str, own_postgresql: Mapping[str, str], environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Run a page from its first command to its last against a PostgreSQL that is not the embedded one."""
    pages = (*ON_OWN_POSTGRESQL[page], page)
    commands = [block for each in pages for block in commands_of(each, tmp_path)]
    run(commands, tmp_path, own_postgresql, environment=environment)


def test_the_start_prints_what_the_readme_says(running: Running) -> None:
    """Compare what the service says when it starts with the page, but for the port."""
    (shown,) = [block.output for block in blocks("README.md") if block.text == "make serve\n"]
    assert shown is not None
    said = running.said.replace(running.url, "http://127.0.0.1:8080")
    assert prints(shown, said), said


def test_the_readme_leaves_no_command_out() -> None:
    """Refuse commands of the README that nothing runs."""
    found = [block for block in blocks("README.md") if block.language != "text"]
    assert {block.text for block in found if not block.is_run} == set(MAKE)


def test_make_has_the_targets_that_the_readme_names() -> None:
    """Hold the two commands that the tests stand for against the Makefile."""
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^serve:.*\n\t@exec \$\(BIN\)/entri serve \$\(ARGS\)$", rules, re.MULTILINE)
    assert re.search(r"^test:.*\n\t\$\(BIN\)/python -m pytest ", rules, re.MULTILINE)
