-- Forget changes that every node has long applied; one that has not forgets all it remembers instead. $1 age (interval).
delete from revocation_log where committed_at < clock_timestamp() - $1::interval and (fenced_at is not null or not restricting)
