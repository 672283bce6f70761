-- Make the partitions that will be needed next. $1 positions in one partition. Answers the first position without one.
select ensure_event_partitions($1)
