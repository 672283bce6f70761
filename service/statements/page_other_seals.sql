-- List seals under other keys than one. $1 key id, $2 most rows, $3 and $4 token and generation to begin after.
-- Rows: token_id, generation, organization, key_id, nonce, ciphertext.
select token_id, generation, organization, key_id, nonce, ciphertext from vault_seals
where key_id <> $1 and (token_id, generation) > ($3, $4)
order by token_id, generation limit $2
