-- Read what may change a read model. $1 after this position, $2 up to this one, $3 types it ignores.
-- Rows: position, organization_position, recorded_at, entry.
select position, organization_position, recorded_at, entry
from events
where position > $1 and position <= $2 and type <> all ($3::text[])
order by position
