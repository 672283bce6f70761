-- Read tiles. Of each: $1 its tree, $2 level, $3 number. Rows: tree, level, tile, hashes, which is null for one that is not there.
select
    w.tree, w.level, w.tile,
    (select t.hashes from tree_tiles t where t.tree = w.tree and t.level = w.level and t.tile = w.tile) as hashes
from unnest($1::text[], $2::smallint[], $3::bigint[]) w (tree, level, tile)
