-- Put new seals in the place of those that were read. $1 key id, $2 nonces before, $3 nonces, $4 ciphertexts, $5 event ids.
-- Rows: none.
update replays r set key_id = $1, nonce = n.nonce, ciphertext = n.ciphertext
from unnest($2::bytea[], $3::bytea[], $4::bytea[], $5::text[]) n (before, nonce, ciphertext, event_id)
where r.event_id = n.event_id and r.nonce = n.before
