-- A part of the whole log, in order. $1 after this position, $2 up to this one; filters, null for none: $3 types, $4 subjects;
-- $5 and $6 which partitions can match (is_usage). Rows: position, organization_position, recorded_at, entry.
select position, organization_position, recorded_at, entry
from events
where position > $1 and position <= $2
  and (is_usage = $5 or is_usage = $6)
  and ($3::text[] is null or type = any ($3))
  and ($4::text[] is null or subject = any ($4))
order by position
