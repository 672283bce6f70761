// Checks inclusion, consistency and the roots of exports with @transmute/rfc9162: node check.mjs FILE.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { CoMETRE } from "@transmute/rfc9162";

const { RFC9162_SHA256: tree } = CoMETRE;
const { events, consistency, exports } = JSON.parse(readFileSync(process.argv[2], "utf8"));

const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const holds = (first, second, proof) => tree.verify_consistency_proof(first, second, proof).catch(() => false);
const isPowerOfTwo = (size) => (size & (size - 1)) === 0;

const leaves = await Promise.all(events.map(({ entry }) => tree.leaf(new TextEncoder().encode(entry))));
for (const [index, { inclusionProof: proof }] of events.entries()) {
  const given = {
    tree_size: Number(proof.treeSize),
    leaf_index: Number(proof.leafIndex),
    inclusion_path: proof.hashes.map(bytes),
  };
  assert.equal(given.leaf_index, index);
  assert.equal(hex(await tree.verify_inclusion_proof(leaves[index], given)), proof.rootHash);
}
for (const proof of consistency) {
  const [from, to] = [Number(proof.from), Number(proof.to)];
  assert.equal(hex(await tree.root(leaves.slice(0, from))), proof.fromRootHash);
  assert.equal(hex(await tree.root(leaves.slice(0, to))), proof.toRootHash);
  if (from === to) {
    assert.deepEqual(proof.hashes, []); // the RFC proves nothing here: the roots are equal
    continue;
  }
  const [first, second] = [bytes(proof.fromRootHash), bytes(proof.toRootHash)];
  // RFC 9162, 2.1.4.2, step 2, is left to the caller by this library.
  const path = [...(isPowerOfTwo(from) ? [first] : []), ...proof.hashes.map(bytes)];
  const given = { log_id: "", tree_size_1: from, tree_size_2: to, consistency_path: path };
  assert.ok(await holds(first, second, given));
  assert.ok(!(await holds(first, bytes(`00${proof.toRootHash.slice(2)}`), given)));
}
for (const { note, entries } of exports) {
  const [, size, root] = note.split("\n");
  assert.equal(entries.length, Number(size));
  const exported = await Promise.all(entries.map((entry) => tree.leaf(new TextEncoder().encode(entry))));
  assert.equal(Buffer.from(await tree.root(exported)).toString("base64"), root);
}
console.log(`${events.length} inclusion proofs, ${consistency.length} consistency proofs, ${exports.length} exports`);
