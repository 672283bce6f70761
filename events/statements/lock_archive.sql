-- Be the only one who archives, as long as this connection lives or until it unlocks. Answers whether that was granted.
select pg_try_advisory_lock(4270008)
