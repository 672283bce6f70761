-- Let no rebuild run until the transaction ends. Answers whether that was granted.
select pg_try_advisory_xact_lock(4270004)
