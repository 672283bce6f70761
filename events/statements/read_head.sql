-- The head of the log. One row: position, recorded_at.
select position, recorded_at from log_head
