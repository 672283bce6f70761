-- Append a batch of commands.
-- $1…$4 of each command, $5…$15 of each event, $16…$17 of each companion: see append_events. Answers one row of arrays.
select outcome, position, organization_position, version, recorded_at
from append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
