"""Checkpoints and proofs as clients get them: checked with what the API gave and nothing else, and whose they are."""

from typing import Final

import pytest

from events.entry import leaf_hash
from events.merkle import verify_consistency, verify_inclusion
from service.log_key import verify
from service.tree_proofs import NotProvableError
from tests.api.conftest import Issued, Json, Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHECKPOINT: Final = "{ logCheckpoint { position rootHash text signedAt } }"
PROOF: Final = "leafIndex treeSize rootHash hashes checkpoint { position rootHash text }"
EVENTS: Final = (
    "query ($size: String) { events(first: 100, order: OLDEST_FIRST) "
    f"{{ nodes {{ id position leafHash inclusionProof(size: $size) {{ {PROOF} }} }} }} }}"
)
GROWTH: Final = (
    "query ($from: String!, $to: String!) "
    "{ logConsistencyProof(from: $from, to: $to) { from to fromRootHash toRootHash hashes } }"
)
UNAUTHORIZED: Final = '{"statusCode":401,"message":"Unauthorized","error":"Unauthorized"}'
FORBIDDEN: Final = '{"statusCode":403,"message":"Forbidden resource","error":"Forbidden"}'


async def checkpoint(service: Service, by: Issued) -> Json:
    """Ask for the newest checkpoint."""
    found: Json = (await service.gql(by.key, CHECKPOINT)).data["logCheckpoint"]
    return found


async def text(service: Service, by: Issued, path: str) -> str:
    """Ask for one of the plain routes."""
    answer = await service.request("GET", path, headers={"X-API-Key": by.key})
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.text


def is_proved(node: Json, root: str) -> bool:
    """Check a proof with what an auditor has: the event's leaf hash and a root."""
    proof = node["inclusionProof"]
    index, size, hashes = int(proof["leafIndex"]), int(proof["treeSize"]), map(bytes.fromhex, proof["hashes"])
    assert index == int(node["position"]) - 1
    return verify_inclusion(bytes.fromhex(node["leafHash"]), index, size, list(hashes), bytes.fromhex(root))


async def test_every_event_is_proved_in_what_was_signed(service: Service) -> None:
    """The checkpoint verifies with the key, each event's proof leads to its root, and no other event's does."""
    admin = await service.token("*:*")
    for _ in range(4):
        await service.token(organization=admin.organization)
    shown = await checkpoint(service, admin)
    signed = verify(shown["text"], await text(service, admin, "/log/key"))
    assert (str(signed.size), signed.root.hex()) == (shown["position"], shown["rootHash"])
    assert signed.origin == f"entri/{service.entrances.core.installation.id}/{admin.organization}"
    nodes = (await service.gql(admin.key, EVENTS)).data["events"]["nodes"]
    newest = nodes[0]["inclusionProof"]["checkpoint"]
    assert int(newest["position"]) >= signed.size >= 6
    for node in nodes:
        if (proof := node["inclusionProof"]) is not None:  # a use that was written meanwhile may not be signed yet
            assert (proof["checkpoint"], proof["rootHash"]) == (newest, newest["rootHash"])
            assert is_proved(node, newest["rootHash"])
    assert not is_proved({**nodes[0], "leafHash": nodes[1]["leafHash"]}, newest["rootHash"])


async def test_an_earlier_tree_binds_the_later_one(service: Service) -> None:
    """Events are proved in the tree of a checkpoint that was kept, and the newer one is proved to begin with it."""
    admin = await service.token("*:*")
    kept = await checkpoint(service, admin)
    await service.token(organization=admin.organization)
    key = await text(service, admin, "/log/key")
    old, new = verify(kept["text"], key), verify(await text(service, admin, "/log/checkpoint"), key)
    assert new.size > old.size
    nodes = (await service.gql(admin.key, EVENTS, {"size": str(new.size)})).data["events"]["nodes"]
    assert all(is_proved(node, new.root.hex()) for node in nodes[: new.size])
    proof = (await service.gql(admin.key, GROWTH, {"from": kept["position"], "to": str(new.size)})).data
    proof = proof["logConsistencyProof"]
    assert (proof["fromRootHash"], proof["toRootHash"]) == (old.root.hex(), new.root.hex())
    assert verify_consistency(old.size, new.size, old.root, new.root, [bytes.fromhex(one) for one in proof["hashes"]])
    one = "query ($id: ID!, $at: String) { node(id: $id) { ... on Event { inclusionProof(size: $at) { rootHash } } } }"
    shown = (await service.gql(admin.key, one, {"id": nodes[0]["id"], "at": kept["position"]})).data["node"]
    assert shown["inclusionProof"]["rootHash"] == old.root.hex()


async def test_one_organizations_tree_says_nothing_of_anothers(service: Service) -> None:
    """Each has its own origin, size and key; what holds of one does not verify as the other's."""
    own, other = await service.token("*:*"), await service.token("*:*")
    await service.token(organization=other.organization)
    note, foreign = await text(service, own, "/log/checkpoint"), await text(service, other, "/log/key")
    assert other.organization not in note
    with pytest.raises(ValueError, match="not signed by"):
        verify(note, foreign)
    theirs = (await checkpoint(service, other))["position"]
    answer = await service.gql(own.key, GROWTH, {"from": "1", "to": str(int(theirs) + 1000)})
    assert answer.codes == ["BAD_USER_INPUT"]


@pytest.mark.parametrize(
    ("old", "size", "wrong"),
    [
        ("2", "1", "from is larger than to"),
        ("0", "9223372036854775807", "to is larger than the tree"),
        ("0", "9223372036854775808", "to is a position: a whole number from 0"),
        ("-1", "1", "from is a position: a whole number from 0"),
        ("canary", "1", "from is a position: a whole number from 0"),
        ("", "1", "from is a position: a whole number from 0"),
        ("1", "1.0", "to is a position: a whole number from 0"),
        ("1", "٢", "to is a position: a whole number from 0"),
    ],
)
async def test_sizes_that_cannot_be(service: Service, old: str, size: str, wrong: str) -> None:
    """A wrong size is an error that says what would be right and quotes nothing; the rest of the answer stands."""
    admin = await service.token("*:*")
    answer = await service.gql(admin.key, GROWTH, {"from": old, "to": size})
    assert (answer.body["data"], answer.codes) == ({"logConsistencyProof": None}, ["BAD_USER_INPUT"])
    assert answer.body["errors"][0]["message"].startswith(wrong)
    assert "canary" not in answer.text


async def test_trees_that_do_not_hold_the_event(service: Service) -> None:
    """A tree that is too small for an event has no proof of it; one that is not there yet is an error."""
    admin = await service.token("*:*")
    await checkpoint(service, admin)
    nodes = (await service.gql(admin.key, EVENTS, {"size": "1"})).data["events"]["nodes"]
    proofs = [node["inclusionProof"] for node in nodes]
    assert proofs[0]["hashes"] == []
    assert not any(proofs[1:])
    for size, wrong in {
        "9223372036854775807": "size is larger than the tree",
        "canary": "size is a position: a whole number from 0",
    }.items():
        answer = await service.gql(admin.key, EVENTS, {"size": size})
        assert answer.body["errors"][0]["message"].startswith(wrong)
        assert set(answer.codes) == {"BAD_USER_INPUT"}
        assert "canary" not in answer.text


@pytest.mark.parametrize("path", ["/log/checkpoint", "/log/key"])
async def test_the_plain_routes(service: Service, path: str) -> None:
    """They are for whoever may read events, by GET and HEAD, and answer others as the other plain routes do."""
    reader, stranger = await service.token("events:read"), await service.token("tokens:*")
    headed = await service.request("HEAD", path, headers={"Authorization": f"Bearer {reader.key}"})
    assert (headed.status, headed.text, headed.headers["Cache-Control"]) == (200, "", "no-store")
    assert int(headed.headers["Content-Length"]) > 100
    none = await service.request("GET", path)
    assert (none.status, none.text, none.headers["WWW-Authenticate"]) == (401, UNAUTHORIZED, "Bearer")
    refused = await service.request("GET", path, headers={"X-API-Key": stranger.key})
    assert (refused.status, refused.text, refused.headers["Cache-Control"]) == (403, FORBIDDEN, "no-store")
    both = {"X-API-Key": reader.key, "Authorization": f"Bearer {reader.key}"}
    assert (await service.request("GET", path, headers=both)).status == 400
    posted = await service.request("POST", path, headers={"X-API-Key": reader.key})
    assert (posted.status, posted.headers["Allow"]) == (405, "GET,HEAD")


async def test_the_operators_tree_and_what_is_not_there(service: Service) -> None:
    """An event is proved in the whole log and in its organization's tree, and in nobody else's."""
    admin, other = await service.token("*:*"), await service.token("*:*")
    trees = service.entrances.services.proofs.trees
    event = (await service.gql(admin.key, EVENTS)).data["events"]["nodes"][0]
    for tree in ("", admin.organization):
        proof = await trees.prove_event(tree, event["id"])
        assert proof.proves(verify(proof.note, trees.key(tree)))
        assert leaf_hash(proof.entry).hex() == event["leafHash"]
    for tree, event_id in [(other.organization, event["id"]), ("", "evt_01jd0000000000000000000000")]:
        with pytest.raises(NotProvableError, match="there is no such event there"):
            await trees.prove_event(tree, event_id)
