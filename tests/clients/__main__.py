"""Drive the service from clients that are not ours: `python -m tests.clients [NAME …]`. Needs Node.js and npm."""

import shutil
import sys
import traceback
from collections.abc import Iterable
from typing import Final

from tests.clients.browsing import check_browser
from tests.clients.environments import HERE, generate, install, program
from tests.clients.pages import check_page
from tests.clients.playing import Running, play
from tests.clients.proving import check_proofs
from tests.places import data_directory

CLIENTS: Final = {
    "graphql-ws": ("graphql-ws",),
    "graphql-sse": ("graphql-sse",),
    "Apollo Client": ("apollo",),
    "urql, graphql-ws": ("urql", "ws"),
    "urql, graphql-sse": ("urql", "sse"),
    "urql, fetch": ("urql", "fetch"),
    "Relay": ("relay",),
    "gql, websockets": ("python-gql", "websockets"),
    "gql, aiohttp": ("python-gql", "aiohttp"),
    "ariadne-codegen": ("ariadne-codegen",),
}
"""Each with its folder and what its program is called with."""
CHECKS: Final = {"page": check_page, "proofs": check_proofs, "browser": check_browser}
"""What else there is, by the words that choose it."""


def main(wanted: list[str]) -> int:
    """Run the clients whose names hold one of the words, checks that are one, or everything; answers the exit code."""
    if missing := [each for each in ("node", "npm") if shutil.which(each) is None]:
        sys.exit(f"missing: {', '.join(missing)}. The clients need Node.js 20 or later, and npm.")
    chosen = {name: way for name, way in CLIENTS.items() if not wanted or any(word in name for word in wanted)}
    for folder in dict.fromkeys(folder for folder, *_ in chosen.values()):
        install(HERE / folder)
        generate(HERE / folder)
    problems: dict[str, str | None] = {}
    with data_directory() as data_dir, Running(data_dir) as service:
        for name, (folder, *arguments) in chosen.items():
            command = [*program(HERE / folder, "client"), *arguments]
            played = play(command, HERE / folder, service, service.new_key(name))
            problems[name] = played.problem
            print(f"{name:24}{played.line}", flush=True)
        for name, check in CHECKS.items():
            if not wanted or name in wanted:
                problems |= _told(name, check(service))
    failed = [f"\n{name}:\n{problem}" for name, problem in problems.items() if problem is not None]
    print("\n".join([*failed, f"{len(problems) - len(failed)} passed, {len(failed)} failed"]))
    return 0 if problems and not failed else 1


def _told(part: str, checked: Iterable[tuple[str, str | None]]) -> dict[str, str | None]:
    """Tell of each at once. A part that breaks is wrong as a whole; what it told before stays."""
    problems: dict[str, str | None] = {}
    try:
        for name, problem in checked:
            problems[name] = problem
            print(f"{name:24}{'ok' if problem is None else 'FAILED'}", flush=True)
    except Exception:  # noqa: BLE001 - whatever broke is told with the rest
        problems[part] = traceback.format_exc()
        print(f"{part:20}FAILED", flush=True)
    return problems


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
