-- Find a data key. $1 its name. One row or none: key_id, nonce, ciphertext.
select key_id, nonce, ciphertext from vault_data_keys where name = $1
