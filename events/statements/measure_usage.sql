-- How much usage there is in a range of positions. $1 from, $2 to (excluded). One row: events, bytes of entries.
select count(*) as events, coalesce(sum(octet_length(entry)), 0)::bigint as bytes
from events
where is_usage and position >= $1 and position < $2
