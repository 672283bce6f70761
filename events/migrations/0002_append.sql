-- append_events: the one way into the log. Takes a batch of commands, appends those that may be, and answers one row of
-- arrays, an element a command. Outcomes: 0 appended, 1 was appended before (same event id), 2 its stream is at another
-- version than expected (given in `version`), 3 its actor may no longer act.
--
-- It runs under READ COMMITTED: each statement after the lock sees what the previous holder of the lock committed.
-- Callers put at most one command of a stream, and none whose actor an earlier one restricts, into a batch. Plans are
-- made once a connection and for indexes only: the tables may have been empty then, and statistics come later.
create function append_events(
    -- of each command: its first event's id, its stream and expected version (null: none expected), its acting id
    c_event_id text[], c_stream text[], c_expected integer[], c_actor text[],
    -- of each event: its command (from 1) and its columns
    e_command integer[], e_event_id text[], e_is_usage boolean[], e_stream text[], e_version integer[], e_type text[],
    e_organization text[], e_subject text[], e_actor text[], e_occurred_at timestamptz[], e_entry bytea[],
    -- of each companion: its name and its rows, a JSON array of objects that name their command: [{"command": 1, …}, …]
    k_name text[], k_rows text[],
    out outcome integer[], out "position" bigint[], out organization_position bigint[], out version integer[],
    out recorded_at timestamptz
)
language plpgsql security definer
set search_path from current set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    head_position bigint;
    restricted text[] := '{}';
    all_won boolean;
    known_position bigint;
    known_organization_position bigint;
    current_version integer;
    rows json;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append_events runs under read committed only' using errcode = 'invalid_transaction_state';
    end if;
    perform pg_advisory_xact_lock(4270001);

    select h.position, greatest(clock_timestamp(), h.recorded_at) into head_position, append_events.recorded_at from log_head h;

    if cardinality(array_remove(c_actor, null)) > 0 then
        restricted := append_guards(c_actor);
    end if;

    if cardinality(c_event_id) = 1 and cardinality(e_event_id) = 1 then
        -- One event alone: plain statements cost a third of what the set-based ones below take to start.
        select i.position, i.organization_position into known_position, known_organization_position
        from event_index i where i.event_id = c_event_id[1];
        if c_stream[1] is not null then
            select i.version into current_version from event_index i
            where i.stream = c_stream[1] and i.version is not null order by i.version desc limit 1;
        end if;
        append_events.outcome := array[case
            when known_position is not null then 1
            when c_stream[1] is not null and coalesce(current_version, 0) <> c_expected[1] then 2
            when c_actor[1] = any (restricted) then 3
            else 0 end];
        append_events.version := array[coalesce(current_version, 0)];
        if append_events.outcome[1] = 0 then
            known_position := head_position + 1;
            insert into organization_heads as o (organization, position) values (e_organization[1], 1)
            on conflict (organization) do update set position = o.position + 1
            returning o.position into known_organization_position;
            insert into events (is_usage, position, organization, organization_position, recorded_at, occurred_at, type, subject, actor, entry)
            values (e_is_usage[1], known_position, e_organization[1], known_organization_position, append_events.recorded_at,
                e_occurred_at[1], e_type[1], e_subject[1], e_actor[1], e_entry[1]);
            insert into event_index (event_id, position, organization_position, stream, version)
            values (e_event_id[1], known_position, known_organization_position, e_stream[1], e_version[1]);
            update log_head set position = known_position, recorded_at = append_events.recorded_at;
            for i in 1 .. cardinality(k_name) loop
                perform append_companion(k_name[i], k_rows[i]::json);
            end loop;
        end if;
        append_events.position := array[known_position];
        append_events.organization_position := array[known_organization_position];
        return;
    end if;

    select
        array_agg(
            case
                when known.position is not null then 1
                when c.stream is not null and coalesce(head.version, 0) <> c.expected then 2
                when c.actor = any (restricted) then 3
                else 0
            end order by c.n),
        array_agg(known.position order by c.n),
        array_agg(known.organization_position order by c.n),
        array_agg(coalesce(head.version, 0) order by c.n)
    into append_events.outcome, append_events.position, append_events.organization_position, append_events.version
    from unnest(c_event_id, c_stream, c_expected, c_actor) with ordinality c (event_id, stream, expected, actor, n)
    left join event_index known on known.event_id = c.event_id
    left join lateral (
        select i.version from event_index i
        where i.stream = c.stream and i.version is not null order by i.version desc limit 1
    ) head on true;

    if not 0 = any (append_events.outcome) then
        return;
    end if;
    all_won := 0 = all (append_events.outcome);

    with winners as materialized (
        select u.*,
            head_position + row_number() over (order by u.n) as position,
            coalesce((select h.position from organization_heads h where h.organization = u.organization), 0)
                + row_number() over (partition by u.organization order by u.n) as organization_position
        from unnest(e_command, e_event_id, e_is_usage, e_stream, e_version, e_type, e_organization, e_subject, e_actor, e_occurred_at, e_entry)
            with ordinality u (command, event_id, is_usage, stream, version, type, organization, subject, actor, occurred_at, entry, n)
        where append_events.outcome[u.command] = 0
    ), into_events as (
        insert into events (is_usage, position, organization, organization_position, recorded_at, occurred_at, type, subject, actor, entry)
        select w.is_usage, w.position, w.organization, w.organization_position, append_events.recorded_at, w.occurred_at, w.type, w.subject, w.actor, w.entry
        from winners w
    ), into_index as (
        insert into event_index (event_id, position, organization_position, stream, version)
        select w.event_id, w.position, w.organization_position, w.stream, w.version from winners w
    ), into_organizations as (
        insert into organization_heads as o (organization, position)
        select w.organization, max(w.organization_position) from winners w group by w.organization
        on conflict (organization) do update set position = excluded.position
    ), into_head as (
        update log_head set position = head_position + (select count(*) from winners), recorded_at = append_events.recorded_at
    )
    -- Not a join: without hashes it would look at every winner for every command.
    select array_agg(a.position order by a.n), array_agg(a.organization_position order by a.n)
    into append_events.position, append_events.organization_position
    from (
        select w.command as n, max(w.position) as position, max(w.organization_position) as organization_position
        from winners w group by w.command
        union all
        select c.n, append_events.position[c.n], append_events.organization_position[c.n]
        from generate_subscripts(append_events.outcome, 1) c (n) where append_events.outcome[c.n] <> 0
    ) a;

    for i in 1 .. cardinality(k_name) loop
        rows := k_rows[i]::json;
        if not all_won then
            select coalesce(json_agg(r), '[]') into rows from json_array_elements(rows) r
            where append_events.outcome[(r ->> 'command')::integer] = 0;
        end if;
        perform append_companion(k_name[i], rows);
    end loop;
end
$$;

revoke execute on function append_events from public;
grant execute on function append_events to entri_service;
