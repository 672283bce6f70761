-- Rebuilds that go on where they were: what one has done is committed step by step, together with how far it is.

create table rebuilds (
    name text collate "C" primary key references read_models,
    definition text not null,
    live_table text not null,
    fresh_table text not null,
    phase text not null default 'fill' check (phase in ('fill', 'index', 'follow')),
    until_position bigint not null,
    expected_events bigint not null,
    after_organization text collate "C" not null default '',
    after_subject text collate "C" not null default '',
    events bigint not null default 0,
    rows bigint not null default 0,
    position bigint not null default 0,
    began_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);
comment on table rebuilds is 'Rebuilds that were begun and have not switched: what each fills, from which definition, and how far it is. It fills from the log up to until_position by subject, makes the indexes, then follows by position';

drop function begin_rebuild(text);
drop function index_rebuilt(text, text);
drop function switch_read_model(text, text, bigint);
drop function end_rebuild(text);

-- What a read model is now: the program's definition of it, and the columns of the live table, which the new one gets.
create function rebuild_definition(of_model text, program text) returns text
language sql stable set search_path from current as $$
    select program || ' ' || md5(string_agg(
        format('%s %s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation, a.attnotnull), ', ' order by a.attnum))
    from pg_attribute a
    where a.attrelid = (select physical_table::regclass from read_models where name = of_model) and a.attnum > 0 and not a.attisdropped
$$;

-- Drops what rebuilds left of a read model: the table that was live before, and what an unfinished one has filled.
-- Answers their names. Nothing reads them: the view is over the live table alone.
create function drop_rebuild_leftovers(of_model text) returns text[]
language plpgsql set search_path from current as $$
declare
    live text;
    leftover text;
    dropped text[] := '{}';
begin
    select physical_table into strict live from read_models where name = of_model;
    execute format('drop view if exists pg_temp.%I', of_model);
    for leftover in
        select relname from pg_class
        where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> live
          and (relname ~ format('^%s(_r\d+)?$', regexp_replace(live, '_r\d+$', ''))
               or relname in (select fresh_table from rebuilds where name = of_model))
        order by relname
    loop
        execute format('drop table %I', leftover);
        dropped := dropped || leftover;
    end loop;
    delete from rebuilds where name = of_model;
    update read_models set previous_table = null where name = of_model and previous_table is not null;
    return dropped;
end
$$;

-- Makes the new table, without indexes, and notes that a rebuild fills it. What earlier ones left is dropped first:
-- answers their names.
create function begin_rebuild(of_model text, program text, up_to bigint, expected bigint) returns text[]
language plpgsql set search_path from current as $$
declare
    live text;
    base text;
    options text;
    owner name;
    tuned record;
    fresh text;
    dropped text[] := drop_rebuild_leftovers(of_model);
begin
    select physical_table, regexp_replace(physical_table, '_r\d+$', '') into strict live, base from read_models where name = of_model;
    fresh := base || '_r' || 1 + coalesce(substring(live from '_r(\d+)$')::integer, 0);
    execute format('create table %I (like %I including comments including constraints including defaults including storage)', fresh, live);
    select array_to_string(reloptions, ', '), pg_get_userbyid(relowner) into options, owner from pg_class where oid = live::regclass;
    if options is not null then
        execute format('alter table %I set (%s)', fresh, options);
    end if;
    for tuned in
        select attname, array_to_string(attoptions, ', ') as options
        from pg_attribute where attrelid = live::regclass and attoptions is not null
    loop
        execute format('alter table %I alter %I set (%s)', fresh, tuned.attname, tuned.options);
    end loop;
    execute format('alter table %I owner to %I', fresh, owner);
    insert into rebuilds (name, definition, live_table, fresh_table, until_position, expected_events)
    values (of_model, rebuild_definition(of_model, program), live, fresh, up_to, expected);
    return dropped;
end
$$;

-- Lets the model's own statements find and write the new table: a temporary view of the model's name stands before the
-- live one, for this connection alone.
create function show_rebuilt(of_model text, fresh text) returns void
language plpgsql set search_path from current as $$
begin
    execute format('drop view if exists pg_temp.%I', of_model);
    execute format('create temporary view %I as select * from %I', of_model, fresh);
end
$$;

-- Gives the new table one of the indexes of the live one that it lacks, or, when it lacks none, its statistics. Answers how
-- many it lacked, and how many there are.
create function index_rebuilt(of_model text, fresh text, out lacked integer, out all_indexes integer)
language plpgsql set search_path from current as $$
declare
    live text := (select physical_table from read_models where name = of_model);
    made record;
begin
    select count(*), count(*) filter (where to_regclass(quote_ident(fresh || substr(c.relname, length(live) + 1))) is null)
    into all_indexes, lacked
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = live::regclass;
    if lacked = 0 then
        execute format('analyze %I', fresh);
        return;
    end if;
    select fresh || substr(c.relname, length(live) + 1) as name, i.indisunique as is_unique, i.indisprimary as is_primary,
        substring(pg_get_indexdef(i.indexrelid) from ' USING .*') as definition
    into made
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = live::regclass and to_regclass(quote_ident(fresh || substr(c.relname, length(live) + 1))) is null
    order by i.indisprimary desc, c.relname limit 1;
    execute format('create %s index %I on %I %s', case when made.is_unique then 'unique' end, made.name, fresh, made.definition);
    if made.is_primary then
        execute format('alter table %I add constraint %I primary key using index %I', fresh, made.name, made.name);
    end if;
end
$$;

-- Puts the new table behind the view and ends the rebuild; the table that was live stays until the next one begins, or
-- until it is dropped.
create function switch_read_model(of_model text, fresh text, at_position bigint) returns void
language plpgsql set search_path from current as $$
declare
    columns text := (
        select string_agg(quote_ident(attname), ', ' order by attnum)
        from pg_attribute where attrelid = format('public.%I', of_model)::regclass and attnum > 0);
begin
    execute format('create or replace view %I as select %s from %I', of_model, columns, fresh);
    update read_models set
        previous_table = physical_table, physical_table = fresh, updated_at = clock_timestamp(),
        position = case when position is not null then at_position end
    where name = of_model;
    delete from rebuilds where name = of_model;
end
$$;

-- Shows this connection the live table again and lets others rebuild, whether this rebuild was finished or given up.
create function end_rebuild(of_model text) returns void
language plpgsql set search_path from current as $$
begin
    execute format('drop view if exists pg_temp.%I', of_model);
    perform pg_advisory_unlock(4270004);
end
$$;

revoke execute on function rebuild_definition, drop_rebuild_leftovers, begin_rebuild, show_rebuilt, index_rebuilt,
    switch_read_model, end_rebuild from public;
