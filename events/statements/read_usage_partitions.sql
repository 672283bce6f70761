-- The partitions of usage behind the head of the log, oldest first, and when the last event of their ranges was recorded.
-- Rows: name, from_position, to_position (excluded), last_recorded_at.
select p.name, p.from_position, p.to_position,
    (select e.recorded_at from events e where e.position = p.to_position - 1) as last_recorded_at
from event_partitions p
where p.is_usage and p.to_position <= (select position from log_head) + 1
order by p.from_position
