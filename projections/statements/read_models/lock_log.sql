-- Let no append run until the transaction ends.
select pg_advisory_xact_lock(4270001)
