-- Let one rotation of keys at a time go on; the lock goes with the connection. Rows: one, whether it was had.
select pg_try_advisory_lock(4270010)
