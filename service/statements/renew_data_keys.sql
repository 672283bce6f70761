-- Put new seals in the place of those that were read. $1 key id, $2 nonces before, $3 nonces, $4 ciphertexts, $5 names.
-- Rows: none.
update vault_data_keys d set key_id = $1, nonce = n.nonce, ciphertext = n.ciphertext
from unnest($2::bytea[], $3::bytea[], $4::bytea[], $5::text[]) n (before, nonce, ciphertext, name)
where d.name = n.name and d.nonce = n.before
