-- What was appended last, in order. $1 after this position, $2 rows at most.
-- Rows: position, organization_position, recorded_at, entry, organization.
select position, organization_position, recorded_at, entry, organization
from events
where position > $1
order by position
limit $2
