-- Be the only one who archives, as long as this connection lives or until it unlocks.
select pg_advisory_lock(4270008)
