-- Drop the detached table of a part of the archive. $1 its first position.
select drop_archived_usage($1)
