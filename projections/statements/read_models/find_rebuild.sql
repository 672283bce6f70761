-- Find a rebuild that has not switched. $1 name of the read model, $2 the program's definition of it. One row or none: the
-- rebuild, and whether it can go on: from that definition, beside the table that is live, into one that is there.
select r.fresh_table, r.phase, r.until_position, r.expected_events, r.after_organization, r.after_subject, r.events, r.rows,
    r.position, r.began_at,
    r.definition = rebuild_definition(r.name, $2) and r.live_table = m.physical_table
        and to_regclass(quote_ident(r.fresh_table)) is not null as can_go_on
from rebuilds r join read_models m on m.name = r.name
where r.name = $1
