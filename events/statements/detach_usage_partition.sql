-- Take a partition of usage out of the log and record it in the archive. $1 its first position, $2 events, $3 when the last
-- event of its range was recorded, $4 name, $5 bytes and $6 SHA-256 of the file that holds them.
select detach_usage_partition($1, $2, $3, $4, $5, $6)
