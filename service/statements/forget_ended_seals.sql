-- Delete the seals of secrets that do not work any more: of tokens that are revoked or have expired, and of generations
-- before the last rotation, unless their overlap goes on. No parameters. Rows: none.
delete from vault_seals s using tokens t
where t.id = s.token_id and (
    t.revoked_at is not null or t.expires_at <= clock_timestamp() or s.generation < t.generation - 1
    or (s.generation = t.generation - 1 and (t.overlap_ends_at is null or t.overlap_ends_at <= clock_timestamp())))
