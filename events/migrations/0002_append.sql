-- An event on its way into the log: its columns, and its place in the batch.
create type new_event as (
    event_id text,
    stream text,
    version integer,
    type text,
    is_usage boolean,
    organization text,
    subject text,
    actor text,
    occurred_at timestamptz,
    entry bytea,
    -- which command of the batch it belongs to, and whether it is that command's first
    command integer,
    leads boolean,
    -- whose authority the command needs; null: nobody's
    acting text,
    -- its place in the batch, its organization's place in `organizations`, and its place among that one's events: all from 1
    place integer,
    organization_place integer,
    place_in_organization integer
);

-- append_events: the one way into the log. Takes a batch of commands, appends those that may be, and answers one row.
--
-- When all of them are appended, `outcome` is null: the positions of the batch's events follow one another from `head`
-- on, those of each organization from its element of `heads` on. Else the other arrays have an element a command, with
-- these outcomes: 0 appended, 1 was appended before (same event id), 2 its stream is at another version than expected
-- (given in `version`), 3 its actor may no longer act; and the positions of its last event, for 1 of its first.
--
-- It runs under READ COMMITTED: each statement after the lock sees what the previous holder of the lock committed.
-- Callers put at most one command of a stream, and none whose actor an earlier one restricts, into a batch. Plans are
-- made once a connection and for indexes only: the tables may have been empty then, and statistics come later.
create function append_events(
    batch new_event[],
    -- each acting id of the batch, once
    acting text[],
    -- each organization of the batch, once, and how many events it has there
    organizations text[], counts integer[],
    -- of each companion: its name, its rows (a JSON array of objects), and which command each row belongs to
    k_name text[], k_rows text[], k_command text[],
    out head bigint, out heads bigint[],
    out outcome integer[], out "position" bigint[], out organization_position bigint[], out version integer[]
)
language plpgsql security definer
set search_path from current set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    restricted text[] := '{}';
    now_at timestamptz;
    all_win boolean;
    e new_event;
    rows json;
    result text;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append_events runs under read committed only' using errcode = 'invalid_transaction_state';
    end if;
    perform pg_advisory_xact_lock(4270001);

    select h.position, greatest(clock_timestamp(), h.recorded_at) into append_events.head, now_at from log_head h;

    if cardinality(acting) > 0 then
        restricted := append_guards(acting);
    end if;

    -- Scalar probes of an index each: as joins they would cost a multiple of that.
    select bool_and(
        not exists (select from event_index i where i.event_id = e.event_id)
        and (e.version is null or e.version = 1 + coalesce((
            select i.version from event_index i
            where i.stream = e.stream and i.version is not null order by i.version desc limit 1), 0))
        and (e.acting is null or e.acting <> all (restricted)))
    into all_win
    from unnest(batch) e where e.leads;

    if not all_win then
        select
            array_agg(
                case
                    when known.position is not null then 1
                    when e.version is not null and e.version <> 1 + coalesce(stream.version, 0) then 2
                    when e.acting = any (restricted) then 3
                    else 0
                end order by e.place),
            array_agg(known.position order by e.place),
            array_agg(known.organization_position order by e.place),
            array_agg(coalesce(stream.version, 0) order by e.place)
        into append_events.outcome, append_events.position, append_events.organization_position, append_events.version
        from unnest(batch) e
        left join event_index known on known.event_id = e.event_id
        left join lateral (
            select i.version from event_index i
            where i.stream = e.stream and i.version is not null order by i.version desc limit 1
        ) stream on true
        where e.leads;

        -- From here on the batch is what wins of it.
        batch := array(
            select row(
                e.event_id, e.stream, e.version, e.type, e.is_usage, e.organization, e.subject, e.actor, e.occurred_at,
                e.entry, e.command, e.leads, e.acting, row_number() over (order by e.place), e.organization_place,
                row_number() over (partition by e.organization_place order by e.place))::new_event
            from unnest(batch) e where append_events.outcome[e.command] = 0 order by e.place);
        counts := array(
            select (select count(*) from unnest(batch) e where e.organization_place = o.place)
            from generate_subscripts(organizations, 1) o (place) order by o.place);
    end if;

    if cardinality(batch) > 0 then
        append_events.heads := array(
            select coalesce((select h.position from organization_heads h where h.organization = o.organization), 0)
            from unnest(organizations) with ordinality o (organization, place) order by o.place);

        insert into events (is_usage, position, organization, organization_position, recorded_at, occurred_at, type, subject, actor, entry)
        select e.is_usage, append_events.head + e.place, e.organization, append_events.heads[e.organization_place] + e.place_in_organization,
            now_at, e.occurred_at, e.type, e.subject, e.actor, e.entry
        from unnest(batch) e;

        insert into event_index (event_id, position, organization_position, stream, version)
        select e.event_id, append_events.head + e.place, append_events.heads[e.organization_place] + e.place_in_organization,
            e.stream, e.version
        from unnest(batch) e;

        insert into organization_heads as h (organization, position)
        select o.organization, append_events.heads[o.place] + o.events
        from unnest(organizations, counts) with ordinality o (organization, events, place) where o.events > 0
        on conflict (organization) do update set position = excluded.position;

        update log_head set position = append_events.head + cardinality(batch), recorded_at = now_at;

        for i in 1 .. cardinality(k_name) loop
            rows := k_rows[i]::json;
            if not all_win then
                select coalesce(json_agg(r.row), '[]') into rows
                from json_array_elements(rows) with ordinality r (row, n)
                where append_events.outcome[(k_command[i]::integer[])[r.n]] = 0;
            end if;
            result := append_companion(k_name[i], rows);
        end loop;
    end if;

    if not all_win then
        foreach e in array batch loop
            append_events.position[e.command] := append_events.head + e.place;
            append_events.organization_position[e.command] := append_events.heads[e.organization_place] + e.place_in_organization;
        end loop;
    end if;
end
$$;

revoke execute on function append_events from public;
grant execute on function append_events to entri_service;
