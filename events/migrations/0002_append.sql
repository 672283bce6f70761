-- append_events: the one way into the log. Takes a batch of commands, appends those that may be, and answers one row of
-- arrays, an element a command. Outcomes: 0 appended, 1 was appended before (same event id), 2 its stream is at another
-- version than expected (given in `version`), 3 its actor may no longer act.
--
-- It runs under READ COMMITTED: each statement after the lock sees what the previous holder of the lock committed.
-- Callers put at most one command of a stream, and none whose actor an earlier one restricts, into a batch.
create function append_events(
    -- of each command: its first event's id, its stream and expected version (null: none expected), its acting id
    c_event_id text[], c_stream text[], c_expected integer[], c_actor text[],
    -- of each event: its command (from 1) and its columns
    e_command integer[], e_event_id text[], e_is_usage boolean[], e_stream text[], e_version integer[], e_type text[],
    e_organization text[], e_subject text[], e_actor text[], e_occurred_at timestamptz[], e_entry bytea[],
    -- rows for the companions: {"name": [{"command": 1, …}, …], …}
    companions jsonb,
    out outcome integer[], out "position" bigint[], out organization_position bigint[], out version integer[],
    out recorded_at timestamptz
)
language plpgsql security definer set search_path from current set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    head_position bigint;
    hook record;
    refused text[];
    restricted text[] := '{}';
    appended bigint;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append_events runs under read committed only' using errcode = 'invalid_transaction_state';
    end if;
    perform pg_advisory_xact_lock(4270001);

    select h.position, greatest(clock_timestamp(), h.recorded_at) into head_position, append_events.recorded_at from log_head h;

    if cardinality(array_remove(c_actor, null)) > 0 then
        for hook in select function::oid::regproc as name from append_hooks where kind = 'guard' loop
            execute format('select %s($1)', hook.name) into refused using c_actor;
            restricted := restricted || refused;
        end loop;
    end if;

    select array_agg(
        case
            when c.known_position is not null then 1
            when c.stream is not null and c.current <> c.expected then 2
            when c.actor = any (restricted) then 3
            else 0
        end order by c.n),
        array_agg(c.known_position order by c.n),
        array_agg(c.known_organization_position order by c.n),
        array_agg(c.current order by c.n)
    into append_events.outcome, append_events.position, append_events.organization_position, append_events.version
    from (
        select u.*,
            (select i.position from event_index i where i.event_id = u.event_id) as known_position,
            (select i.organization_position from event_index i where i.event_id = u.event_id) as known_organization_position,
            coalesce((select s.version from stream_heads s where s.stream = u.stream), 0) as current
        from unnest(c_event_id, c_stream, c_expected, c_actor) with ordinality as u (event_id, stream, expected, actor, n)
    ) c;

    if not 0 = any (append_events.outcome) then
        return;
    end if;

    with winners as materialized (
        select u.*,
            head_position + row_number() over (order by u.n) as position,
            coalesce((select h.position from organization_heads h where h.organization = u.organization), 0)
                + row_number() over (partition by u.organization order by u.n) as organization_position
        from unnest(e_command, e_event_id, e_is_usage, e_stream, e_version, e_type, e_organization, e_subject, e_actor, e_occurred_at, e_entry)
            with ordinality as u (command, event_id, is_usage, stream, version, type, organization, subject, actor, occurred_at, entry, n)
        where append_events.outcome[u.command] = 0
    ), into_events as (
        insert into events (is_usage, position, organization, organization_position, recorded_at, occurred_at, stream, version, type, subject, actor, entry)
        select w.is_usage, w.position, w.organization, w.organization_position, append_events.recorded_at, w.occurred_at, w.stream, w.version, w.type, w.subject, w.actor, w.entry
        from winners w order by w.position
    ), into_index as (
        insert into event_index (event_id, position, organization_position, stream, version)
        select w.event_id, w.position, w.organization_position, w.stream, w.version from winners w
    ), into_streams as (
        insert into stream_heads as s (stream, version)
        select w.stream, max(w.version) from winners w where w.version is not null group by w.stream
        on conflict (stream) do update set version = excluded.version
    ), into_organizations as (
        insert into organization_heads as o (organization, position)
        select w.organization, max(w.organization_position) from winners w group by w.organization
        on conflict (organization) do update set position = excluded.position
    ), placed as (
        select w.command, max(w.position) as position, max(w.organization_position) as organization_position, count(*) as events
        from winners w group by w.command
    )
    select
        array_agg(coalesce(p.position, append_events.position[c.n]) order by c.n),
        array_agg(coalesce(p.organization_position, append_events.organization_position[c.n]) order by c.n),
        sum(p.events)
    into append_events.position, append_events.organization_position, appended
    from generate_subscripts(append_events.outcome, 1) c (n) left join placed p on p.command = c.n;

    update log_head set position = head_position + appended, recorded_at = append_events.recorded_at;

    if companions is not null then
        for hook in select name, function::oid::regproc as function from append_hooks where kind = 'companion' and companions ? name loop
            execute format('select %s($1)', hook.function)
            using (
                select coalesce(jsonb_agg(r), '[]') from jsonb_array_elements(companions -> hook.name) r
                where append_events.outcome[(r ->> 'command')::integer] = 0
            );
        end loop;
    end if;
end
$$;

revoke execute on function append_events from public;
grant execute on function append_events to entri_service;
