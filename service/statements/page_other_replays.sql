-- List sealed replays under other keys than one. $1 key id, $2 most rows, $3 event id to begin after. Rows: event_id, key_id,
-- nonce, ciphertext.
select event_id, key_id, nonce, ciphertext from replays
where ciphertext is not null and key_id <> $1 and event_id > $3
order by event_id limit $2
