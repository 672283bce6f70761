-- Write events of the whole log as lines of an export. $1 from this position, $2 to this one.
-- One row: lines, all one after the other; leaf_hashes, likewise; events, how many. Without events: nulls and 0.
-- Nothing is escaped: an entry is JSON as it is, and no column that repeats a part of it holds what JSON would escape.
select string_agg(line, ''::bytea) as lines, string_agg(leaf_hash, ''::bytea) as leaf_hashes, count(*) as events
from (
    select
        convert_to(concat(
            '{"position":', position,
            ',"organization_position":', organization_position,
            ',"recorded_at":"', to_char(recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            '","leaf_hash":"', encode(leaf_hash, 'hex'),
            '","organization":"', organization,
            '","type":"', type,
            '","subject":"', subject,
            '","actor":"', actor,
            '","occurred_at":"', to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            '","entry":'), 'UTF8') || entry || '\x7d0a'::bytea as line,
        leaf_hash
    from events
    where position between $1 and $2
    order by position
) as written
