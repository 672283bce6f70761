-- Save how large trees have become, and where in the write-ahead log all of that certainly is. Of each: $1 name, $2 size.
insert into trees as t (tree, size, wal_at)
select w.tree, w.size, pg_current_wal_insert_lsn() from unnest($1::text[], $2::bigint[]) w (tree, size)
on conflict (tree) do update set size = excluded.size, wal_at = excluded.wal_at
