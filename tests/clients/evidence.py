"""Fetch a history with its checkpoints and proofs, for verifiers that are not ours. Must never judge them itself.

What they get is one JSON file: the key and signed checkpoints as text, every entry in order, an inclusion proof of each
in the newest tree, consistency proofs between trees of many sizes, and exports: of the organization and of the whole
log, each with its key, its checkpoint and its entries. All hashes in hexadecimal.
"""

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.cli.processes import ask, create_token, eventually
from tests.clients.playing import Running

SIZES: Final = 70
"""Enough leaves that trees of every shape of six levels are among them."""
_PAGE: Final = """query($after: String) { events(first: 100, after: $after, order: OLDEST_FIRST) {
    nodes { entry inclusionProof(size: "%d") { leafIndex treeSize rootHash hashes } }
    pageInfo { hasNextPage endCursor } } }"""
_ORGANIZATION: Final = "{ viewer { organization { id } } }"
_CHECKPOINT: Final = "{ logCheckpoint { position rootHash text } }"
_CONSISTENCY: Final = """query($from: String!, $to: String!) {
    logConsistencyProof(from: $from, to: $to) { from to fromRootHash toRootHash hashes } }"""


def gather(service: Running, path: Path) -> None:
    """Write a history long enough, and the file."""
    url, key = service.url, service.new_key("proofs")
    first = _checkpoint(url, key)
    position = "0"
    while int(position) < SIZES:
        position = create_token(url, key).data["createToken"]["position"]
    last = eventually(lambda: _reaching(url, key, SIZES))
    size = int(last["position"])
    organization = _ask(url, key, _ORGANIZATION)["viewer"]["organization"]["id"]
    evidence = {
        "key": _text(f"{url}/log/key", key),
        "notes": [first["text"], last["text"], _text(f"{url}/log/checkpoint", key)],
        "events": _events(url, key, size),
        "consistency": [
            _ask(url, key, _CONSISTENCY, {"from": str(old), "to": str(new)})["logConsistencyProof"]
            for new in (size, size - 1, 64, 33)
            for old in range(1, new + 1, 1 if new == size else 7)
        ],
        "exports": [
            _export(service, path.with_name("organization.ndjson"), "--organization", organization),
            _export(service, path.with_name("log.ndjson")),
        ],
    }
    path.write_text(json.dumps(evidence, indent=1), encoding="utf-8")


def _export(service: Running, path: Path, *options: str) -> dict[str, Any]:
    """Export into one file, and cut it up as the page on its format says."""
    service.export(path, *options)
    head, *lines, _ = path.read_text(encoding="utf-8").splitlines()
    described = json.loads(head)
    entries = [line.partition(',"entry":')[2][:-1] for line in lines]
    return {"key": described["key"], "note": described["checkpoint"], "entries": entries}


def _ask(url: str, key: str, query: str, variables: Mapping[str, object] | None = None) -> dict[str, Any]:
    return ask(f"{url}/graphql", key=key, body={"query": query, "variables": variables or {}}).data


def _checkpoint(url: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = eventually(lambda: _ask(url, key, _CHECKPOINT)["logCheckpoint"])
    return found


def _reaching(url: str, key: str, size: int) -> dict[str, Any] | None:
    found = _checkpoint(url, key)
    return found if int(found["position"]) >= size else None


def _events(url: str, key: str, size: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor, is_more = None, True
    while is_more and len(found) < size:
        page = _ask(url, key, _PAGE % size, {"after": cursor})["events"]
        found += page["nodes"]
        cursor, is_more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    return found[:size]


def _text(url: str, key: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"X-API-Key": key}), timeout=20) as answer:
        text: str = answer.read().decode()
        return text
