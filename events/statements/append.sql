-- Append a batch of commands. $1 its events, $2 acting ids, $3 organizations and $4 how many events each has,
-- $5…$7 of each companion its name, its rows and their commands: see append_events. One row: positions and outcomes.
select head, heads, outcome, position, organization_position, version
from append_events($1, $2, $3, $4, $5, $6, $7)
