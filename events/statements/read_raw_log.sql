-- Read events of the whole log as they lie there, also where they were altered. $1 from this position, $2 to this one.
-- Rows: position, organization_position, recorded_at, organization, type, subject, actor, occurred_at (all as text), entry.
select
    position, organization_position, to_char(recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as recorded_at,
    organization, type, subject, actor, to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as occurred_at,
    entry
from events
where position between $1 and $2
order by position
