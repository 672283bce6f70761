-- Read a stream of decisions in order. $1 stream, $2 after this version. Rows: position, organization_position, recorded_at, entry.
select e.position, e.organization_position, e.recorded_at, e.entry
from event_index i
join events e on e.position = i.position and not e.is_usage
where i.stream = $1 and i.version > $2
order by i.version
