-- Read what may change a read model, the events of each subject together. $1 up to this position, $2 types it ignores,
-- $3 which partitions can hold the others (is_usage). Rows: position, organization_position, recorded_at, entry.
select position, organization_position, recorded_at, entry
from events
where position <= $1 and type <> all ($2::text[]) and is_usage = any ($3::boolean[])
order by organization, subject, organization_position
