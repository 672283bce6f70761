"""Run the programs of the how-to page on clients as they are printed, and restart the service under them."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.cli.processes import REPOSITORY, Lines, ask, create_token
from tests.clients.environments import HERE, install
from tests.clients.playing import Running

PAGE: Final = REPOSITORY / "docs/how-to/use-a-graphql-client.md"
PROGRAMS: Final = {
    "follow-ws.mjs": "graphql-ws",
    "follow-sse.mjs": "graphql-sse",
    "follow-apollo.mjs": "apollo",
    "follow-urql.mjs": "urql",
    "follow_gql.py": "python-gql",
    "follow_ariadne.py": "ariadne-codegen",
}
"""Each with the environment that it runs in."""
_FILE: Final = re.compile(r"^```\w+ file=(?P<name>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HISTORY: Final = "{ events(first: 100, order: OLDEST_FIRST) { nodes { position type } } }"


def check_page(service: Running) -> Iterator[tuple[str, str | None]]:
    """Run each program; say what went wrong, None when nothing did."""
    for program, environment in PROGRAMS.items():
        key = service.new_key(program)
        with _running(program, HERE / environment, url=service.url, key=key) as said:
            yield program, _follow(said, service, key)
    module = _run("environment.mjs", _written(HERE / "relay"), {"URL": service.url, "KEY": "none"})
    out, _ = module.communicate(timeout=30)
    yield "environment.mjs", out if module.returncode else None


def _follow(said: Lines, service: Running, key: str) -> str | None:
    """Make events, restart the service, make more; say what is wrong with the lines that came."""
    last = create_token(service.url, key).data["createToken"]["position"]
    if said.wait_for(f"{last} TokenCreated\n") is None:
        return said.text()
    service.restart(signal.SIGTERM)
    last = create_token(service.url, key).data["createToken"]["position"]
    if said.wait_for(f"{last} TokenCreated\n") is None:
        return said.text()
    whole = ask(f"{service.url}/graphql", key=key, body={"query": _HISTORY}).data["events"]["nodes"]
    expected = [f"{event['position']} {event['type']}\n" for event in whole]
    lines = said.wait_for_all("", count=int(last))[: int(last)]
    return None if lines == expected[: int(last)] else "".join(lines)


@contextmanager
def _running(program: str, environment: Path, *, url: str, key: str) -> Iterator[Lines]:
    folder = _written(environment)
    process = _run(program, folder, {"URL": url, "KEY": key})
    assert process.stdout is not None
    said = Lines(process.stdout)
    try:
        yield said
    finally:
        process.kill()
        process.wait()


def _run(program: str, folder: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
    interpreter = ["node"] if program.endswith(".mjs") else ["../.venv/bin/python"]
    return subprocess.Popen(
        [*interpreter, program],
        cwd=folder,
        env={**os.environ, **variables},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _written(environment: Path) -> Path:
    """Write the page's files into an environment, and generate what is to be generated."""
    install(environment)
    folder = environment / "__page__"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for block in _FILE.finditer(PAGE.read_text(encoding="utf-8")):
        (folder / block["name"]).write_text(block["text"], encoding="utf-8")
    if environment.name == "ariadne-codegen":
        shutil.copy(REPOSITORY / "schema.graphql", folder)
        command = ["../.venv/bin/ariadne-codegen", "--config", "ariadne-codegen.toml"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder
