-- Find the markers of processes that are gone. $1 not seen for this long. Rows: process, organization, buffered_from, seen_at.
select process, organization, buffered_from, seen_at
from usage_buffers
where seen_at < clock_timestamp() - $1::interval
order by process, organization
