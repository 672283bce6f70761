-- Forget the sealed secrets of replays older than 24 hours. No parameters. Rows: none.
update replays set key_id = null, nonce = null, ciphertext = null
where ciphertext is not null and created_at <= clock_timestamp() - interval '24 hours'
