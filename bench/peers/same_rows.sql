-- Write the rows of a batch of new tokens with one statement that asks nothing: under the lock of the log, with its
-- positions, heads and indexes. No event id, version or actor is checked.
-- $1 events as append_events takes them, $2 organizations, $3 how many events each has there, $4 the rows of tokens and
-- $5 those of vault_secrets, as JSON.
with locked as materialized (
    select pg_advisory_xact_lock(4270001)
), head as (
    update log_head set position = position + cardinality($1::new_event[]), recorded_at = clock_timestamp()
    from locked
    returning position - cardinality($1::new_event[]) as position, recorded_at
), heads as materialized (
    select array(
        select coalesce((select h.position from organization_heads h where h.organization = o.organization), 0)
        from unnest($2::text[]) with ordinality o (organization, place) order by o.place) as positions
), moved as (
    insert into organization_heads as h (organization, position)
    select o.organization, o.events from unnest($2::text[], $3::integer[]) o (organization, events)
    on conflict (organization) do update set position = h.position + excluded.position
), placed as materialized (
    select e.*, head.position + e.place as at, heads.positions[e.organization_place] + e.place_in_organization as at_there,
        head.recorded_at
    from unnest($1::new_event[]) e, head, heads
), indexed as (
    insert into event_index (event_id, position, organization_position, stream, version)
    select e.event_id, e.at, e.at_there, e.stream, e.version from placed e
), tokens as (
    insert into tokens select r.* from json_populate_recordset(null::tokens, $4::text::json) r
), secrets as (
    insert into vault_secrets select r.* from json_populate_recordset(null::vault_secrets, $5::text::json) r
)
insert into events (is_usage, position, organization, organization_position, recorded_at, occurred_at, type, subject, actor, entry)
select e.is_usage, e.at, e.organization, e.at_there, e.recorded_at, e.occurred_at, e.type, e.subject, e.actor, e.entry
from placed e
