-- Read one event of an organization. $1 event id, $2 organization. Rows: position, organization_position, recorded_at, entry.
select e.position, e.organization_position, e.recorded_at, e.entry
from event_index i
join events e on e.position = i.position
where i.event_id = $1 and e.organization = $2
