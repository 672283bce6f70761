-- Read events of an organization's history as they lie there, also where they were altered. $1 from this organization
-- position, $2 to this one, $3 organization.
-- Rows: position, organization_position (null), recorded_at, organization, type, subject, actor, occurred_at (as text), entry.
select
    organization_position as position, null::bigint as organization_position,
    to_char(recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as recorded_at,
    organization, type, subject, actor, to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as occurred_at,
    entry
from events
where organization = $3 and organization_position between $1 and $2
order by organization_position
