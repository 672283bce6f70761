-- Let others archive.
select pg_advisory_unlock(4270008)
