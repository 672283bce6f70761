-- List data keys under other keys than one. $1 key id, $2 most rows, $3 name to begin after. Rows: name, key_id, nonce,
-- ciphertext.
select name, key_id, nonce, ciphertext from vault_data_keys
where key_id <> $1 and name > $3
order by name limit $2
