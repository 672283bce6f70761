-- Read what the trees take in of events, in the order of the log. $1 after this position, $2 to this one.
-- Rows: position, organization, organization_position, leaf_hash.
select position, organization, organization_position, leaf_hash
from events
where position > $1 and position <= $2
order by position
