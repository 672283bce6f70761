-- Find an event's entry and its places, whichever organization it is of. $1 event id.
-- One row, none for an unknown id: position, organization, organization_position, entry.
select e.position, e.organization, e.organization_position, e.entry
from event_index i
join events e on e.position = i.position
where i.event_id = $1
