-- Write the usage in a range of positions as lines of an export of the whole log. $1 from this position, $2 to this one (excluded).
-- One row: lines, all one after the other; is_odd, whether a column holds what JSON would escape. Without usage: nulls.
select
    string_agg(line, ''::bytea order by position) as lines,
    bool_or(strpos(names, '"') + strpos(names, '\') > 0) as is_odd
from (
    select
        position,
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
        concat(organization, type, subject, actor) as names
    from events
    where is_usage and position >= $1 and position < $2
) as written
