-- Put new seals in the place of those that were read. $1 key id, $2 nonces before, $3 nonces, $4 ciphertexts, $5 tokens,
-- $6 generations. Rows: none.
update vault_seals s set key_id = $1, nonce = n.nonce, ciphertext = n.ciphertext
from unnest($2::bytea[], $3::bytea[], $4::bytea[], $5::text[], $6::integer[])
    n (before, nonce, ciphertext, token_id, generation)
where s.token_id = n.token_id and s.generation = n.generation and s.nonce = n.before
