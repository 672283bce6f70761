-- Keep what was signed, unless the log has begun another generation meanwhile. $1 tree, $2 generation, $3 size, $4 key id,
-- $5 root, $6 text. One row: signed_at; none where another process was first.
insert into checkpoints (tree, generation, size, key_id, root, text)
select $1, $2, $3, $4, $5, $6 from installation where generation = $2
on conflict do nothing
returning signed_at
