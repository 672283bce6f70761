-- Be the only rebuild, as long as this connection lives or until it unlocks. No row: fails at the lock timeout.
select pg_advisory_lock(4270004)
