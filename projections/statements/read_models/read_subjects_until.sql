-- Read what may change a read model, the events of each subject together, as far as a position. $1 organization,
-- $2 subject and $3 organization position that come before; $4 up to this organization; $5 up to this position and $6 this
-- organization position; $7 types it ignores, $8 which partitions can hold the others (is_usage), $9 rows at most.
-- Rows: position, organization_position, entry (null: it came later), organization, subject.
-- That later events are rows too bounds what one page costs, wherever the position is.
select position, organization_position,
    case when position <= $5 and organization_position <= $6 then entry end as entry, organization, subject
from events
where (organization, subject, organization_position) > ($1, $2, $3) and organization <= $4
  and type <> all ($7::text[]) and is_usage = any ($8::boolean[])
order by organization, subject, organization_position
limit $9
