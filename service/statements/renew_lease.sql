-- Renew a node's row and read what changed: one statement, so that all is as of one instant after it was sent.
-- $1 incarnation, $2 what it has applied, $3 most changes wanted, $4 the history it knows: in another, its row is left
-- as it is. Rows: one, of is_registered, epoch, history, now, channels that the connection listens on, and the changes
-- as positions and subjects.
with renewed as (
    update auth_node set renewals = renewals + 1, applied = $2
    where incarnation = $1 and left(pg_walfile_name(pg_current_wal_lsn()), 8) = $4
    returning 1
), changed as (
    select l.position, l.subject from revocation_log l where l.position > $2 order by l.position limit $3
)
select exists (select from renewed) as is_registered, e.n as epoch,
    left(pg_walfile_name(pg_current_wal_lsn()), 8) as history, clock_timestamp() as now,
    array(select pg_listening_channels()) as channels,
    array(select c.position from changed c order by c.position) as positions,
    array(select c.subject from changed c order by c.position) as subjects
from auth_epoch e
