-- The append in two statements: one that looks at the whole batch, one that writes it. Each statement that the server
-- starts costs as much as several commands do; and what is new is nowhere yet, so one look at the end of an index tells it
-- of all new event ids, one of all new streams. Guards are part of the first statement.

drop function if exists append_guards(text[]);

-- Writes the two functions that append_events calls anew, with calls of the hooks in them, so that their plans are kept.
-- The first becomes part of the statement that names it.
create function write_append_hooks() returns void
language plpgsql set search_path from current as $$
declare
    guards text;
    companions text;
begin
    select string_agg(format('select unnest(%s(actors))', function), e'\nunion all ' order by name) into guards
    from append_hooks where kind = 'guard';
    select string_agg(format('    if companion = %L then result := %s(rows); return; end if;', name, function), e'\n' order by name)
    into companions
    from append_hooks where kind = 'companion';
    execute format($template$
        create or replace function append_guards(actors text[]) returns setof text language sql stable as $hook$
            %s
        $hook$
    $template$, coalesce(guards, 'select null::text where false'));
    execute format($template$
        create or replace function append_companion(companion text, rows json) returns void language plpgsql as $hook$
        declare
            result text;
        begin
            %s
            raise exception 'no companion is named %%', companion using errcode = 'undefined_function';
        end
        $hook$
    $template$, companions);
    revoke execute on function append_guards, append_companion from public;
end
$$;

-- Asks that a function be called within every append that concerns it. A guard takes actor ids (text[]) and answers those
-- that may no longer act (text[]), and changes nothing; a companion takes the rows of its name (a json array) and writes
-- them (void).
create or replace function register_append_hook(of_kind text, of_name text, of_function regproc) returns void
language plpgsql set search_path from current as $$
begin
    insert into append_hooks (kind, name, function) values (of_kind, of_name, of_function);
    perform write_append_hooks();
end
$$;

select write_append_hooks();

-- What it takes, answers and promises is as before.
create or replace function append_events(
    batch new_event[],
    acting text[],
    organizations text[], counts integer[],
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
    restricted text[];
    now_at timestamptz;
    all_win boolean;
    e new_event;
    rows json;
    result text;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'append_events runs under read committed only' using errcode = 'invalid_transaction_state';
    end if;
    result := pg_advisory_xact_lock(4270001);

    -- Whoever expects a stream to be new is asked about with all others who do; any other version is looked up by itself.
    select h.position, greatest(clock_timestamp(), h.recorded_at),
        array(
            select coalesce((select h.position from organization_heads h where h.organization = o.organization), 0)
            from unnest(organizations) with ordinality o (organization, place) order by o.place),
        not exists (
            select from event_index i
            where i.event_id = any (array(select e.event_id from unnest(batch) e where e.leads)))
        and not exists (
            select from event_index i
            where i.stream = any (array(select e.stream from unnest(batch) e where e.leads and e.version = 1))
              and i.version is not null)
        and not exists (
            select from unnest(batch) e
            where e.leads and e.version > 1 and e.version <> 1 + coalesce((
                select i.version from event_index i
                where i.stream = e.stream and i.version is not null order by i.version desc limit 1), 0))
        and not exists (select from append_guards(append_events.acting))
    into append_events.head, now_at, append_events.heads, all_win
    from log_head h;

    if not all_win then
        restricted := array(select r from append_guards(append_events.acting) r);
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
        with placed as materialized (
            select e.*, append_events.head + e.place as at,
                append_events.heads[e.organization_place] + e.place_in_organization as at_there
            from unnest(batch) e
        ), indexed as (
            insert into event_index (event_id, position, organization_position, stream, version)
            select e.event_id, e.at, e.at_there, e.stream, e.version from placed e
        ), moved as (
            insert into organization_heads as h (organization, position)
            select o.organization, append_events.heads[o.place] + o.events
            from unnest(organizations, counts) with ordinality o (organization, events, place) where o.events > 0
            on conflict (organization) do update set position = excluded.position
        ), moved_all as (
            update log_head set position = append_events.head + cardinality(batch), recorded_at = now_at
        )
        insert into events (is_usage, position, organization, organization_position, recorded_at, occurred_at, type, subject, actor, entry)
        select e.is_usage, e.at, e.organization, e.at_there, now_at, e.occurred_at, e.type, e.subject, e.actor, e.entry
        from placed e;

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
revoke execute on function write_append_hooks from public;
