-- Enter the registry of nodes, in place of an earlier incarnation if there was one: nothing is applied yet but what there
-- is now. $1 incarnation, $2 node name, $3 lease in milliseconds, $4 earlier incarnation or null. Rows: one, of
-- applied and history: which history of the database this is, another after a failover.
with gone as (
    delete from auth_node where incarnation = $4
)
insert into auth_node (incarnation, node_name, lease_ms, applied)
select $1, $2, $3, e.n from auth_epoch e
returning applied, left(pg_walfile_name(pg_current_wal_lsn()), 8) as history
