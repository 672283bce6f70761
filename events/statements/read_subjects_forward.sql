-- A page of the history of some subjects of an organization, oldest first.
-- $1 organization, $2 after this organization position, $3 before this one, $4 rows at most; filters, null for none:
-- $5 types, $6 actors, $7 occurred from, $8 occurred before; $9 and $10 which partitions can match (is_usage); $11 subjects.
-- Rows: position, organization_position, recorded_at, entry.
select e.position, e.organization_position, e.recorded_at, e.entry
from (select distinct unnest($11::text[]) as subject) s
cross join lateral (
    select position, organization_position, recorded_at, entry
    from events
    where organization = $1 and subject = s.subject and organization_position > $2 and organization_position < $3
      and (is_usage = $9 or is_usage = $10)
      and ($5::text[] is null or type = any ($5))
      and ($6::text[] is null or actor = any ($6))
      and ($7::timestamptz is null or occurred_at >= $7)
      and ($8::timestamptz is null or occurred_at < $8)
    order by organization_position
    limit $4
) e
order by e.organization_position
limit $4
