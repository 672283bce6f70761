-- The stream of an event that was archived. $1 event id. One row or none: stream.
select i.stream
from event_index i
where i.event_id = $1 and i.version is null and i.position < (select max(to_position) from archived_usage)
