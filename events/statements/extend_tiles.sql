-- Add hashes to tiles that hold as many as they should. Of each: $1 its tree, $2 level, $3 number, $4 further hashes,
-- $5 how many it holds. One row: extended, how many tiles were.
with extended as (
    update tree_tiles t set hashes = t.hashes || w.hashes
    from unnest($1::text[], $2::smallint[], $3::bigint[], $4::bytea[], $5::integer[]) w (tree, level, tile, hashes, held)
    where t.tree = w.tree and t.level = w.level and t.tile = w.tile and octet_length(t.hashes) = 32 * w.held
    returning 1
)
select count(*) as extended from extended
