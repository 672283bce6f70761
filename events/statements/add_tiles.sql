-- Add tiles that are not there yet. Of each: $1 its tree, $2 level, $3 number, $4 hashes.
insert into tree_tiles (tree, level, tile, hashes)
select * from unnest($1::text[], $2::smallint[], $3::bigint[], $4::bytea[])
