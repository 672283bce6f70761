-- Keep a data key, unless there is one of that name. $1 name, $2 key id, $3 nonce, $4 ciphertext. Rows: none.
insert into vault_data_keys (name, key_id, nonce, ciphertext) values ($1, $2, $3, $4)
on conflict (name) do nothing
