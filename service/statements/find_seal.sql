-- Find the sealed secret of one generation of an organization's token. $1 token, $2 generation, $3 organization. One row
-- or none: key_id, nonce, ciphertext.
select key_id, nonce, ciphertext from vault_seals where token_id = $1 and generation = $2 and organization = $3
