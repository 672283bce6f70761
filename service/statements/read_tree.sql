-- How far a tree is, whether all of it is safe, and what was signed of it last in this generation, of the same size rather
-- what a certain key signed. $1 the tree's name, $2 the id of the key.
-- One row, none for a tree without leaves: size, head (of the whole log), generation, unsafe (why it is not safe, or null),
-- signed_size, root, text, key_id, signed_at, signed_s_ago, null where nothing was signed.
select
    t.size, h.position as head, i.generation, why_wal_is_not_safe(t.wal_at) as unsafe,
    c.size as signed_size, c.root, c.text, c.key_id, c.signed_at,
    extract(epoch from clock_timestamp() - c.signed_at)::double precision as signed_s_ago
from trees t cross join log_head h cross join installation i
left join lateral (
    select c.size, c.root, c.text, c.key_id, c.signed_at
    from checkpoints c
    where c.tree = t.tree and c.generation = i.generation
    order by c.size desc, c.key_id = $2 desc, c.signed_at desc
    limit 1
) c on true
where t.tree = $1
