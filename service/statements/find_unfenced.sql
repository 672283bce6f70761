-- Find tokens whose restriction nobody has fenced for some time, since whoever made it is gone.
-- $1 age (interval), $2 most wanted. Rows: subject.
select distinct subject from revocation_log
where restricting and fenced_at is null and committed_at < clock_timestamp() - $1::interval
limit $2
