-- Read what may change a read model, the events of each subject together. $1 up to this position, $2 types it ignores,
-- $3 which partitions can hold the others (is_usage), $4 after this organization, $5 subject and $6 place in the
-- organization's history, $7 how many at most. Rows: position, organization_position, entry.
select position, organization_position, entry
from events
where position <= $1 and type <> all ($2::text[]) and is_usage = any ($3::boolean[])
    and (organization, subject, organization_position) > ($4, $5, $6)
order by organization, subject, organization_position
limit $7
