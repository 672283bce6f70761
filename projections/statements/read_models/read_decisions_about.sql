-- Read what was decided about subjects before a position. $1 organizations and $2 their subjects, pairwise, $3 before this
-- position, $4 types to leave out. Rows: position, organization_position, recorded_at, entry.
select e.position, e.organization_position, e.recorded_at, e.entry
from unnest($1::text[], $2::text[]) k (organization, subject)
cross join lateral (
    select position, organization_position, recorded_at, entry
    from events
    where not is_usage and organization = k.organization and subject = k.subject and position < $3 and type <> all ($4::text[])
    order by organization_position
) e
order by e.position
