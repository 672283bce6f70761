-- Evict nodes that did not answer, unless they renewed since they were counted, and fence what was waited for.
-- $1 and $2 incarnations and their renewals; $3, $4, $5 tokens, the positions up to which they are fenced, and how (JSON).
with evicted as (
    delete from auth_node n using unnest($1::text[], $2::bigint[]) w (incarnation, renewals)
    where n.incarnation = w.incarnation and n.renewals = w.renewals
)
update revocation_log l set fenced_at = clock_timestamp(), fence = f.fence::jsonb
from unnest($3::text[], $4::bigint[], $5::text[]) f (subject, position, fence)
where l.subject = f.subject and l.position <= f.position and l.restricting and l.fenced_at is null
