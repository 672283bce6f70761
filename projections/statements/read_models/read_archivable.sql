-- Read usage that is about to be archived. $1 from this position, $2 to this one (excluded).
-- Rows: position, organization_position, recorded_at, entry.
select position, organization_position, recorded_at, entry
from events
where is_usage and position >= $1 and position < $2
order by position
