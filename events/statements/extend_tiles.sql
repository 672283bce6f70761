-- Add hashes to tiles, which may not be there yet. Of each: $1 its tree, $2 level, $3 number, $4 further hashes.
-- Rows: tree, level, tile, hashes, how many it has now.
insert into tree_tiles as t (tree, level, tile, hashes)
select * from unnest($1::text[], $2::smallint[], $3::bigint[], $4::bytea[])
on conflict (tree, level, tile) do update set hashes = t.hashes || excluded.hashes
returning tree, level, tile, octet_length(hashes) / 32 as hashes
