-- Rebuilding a read model: a new table beside the live one, filled while that serves, then put behind the view.
-- Only the owner may. Nothing here knows a read model: what the live table has, the new one gets.

-- Makes the new table, without indexes, and answers its name. A temporary view of the model's name stands before the live
-- one for this connection, so that the model's own statements find and write the new table. What earlier
-- rebuilds left is dropped: the table that was live before, and what one that failed had begun.
create function begin_rebuild(of_model text) returns text
language plpgsql set search_path from current as $$
declare
    model read_models;
    base text;
    leftover text;
    options text;
    owner name;
    tuned record;
    fresh text;
begin
    select * into strict model from read_models where name = of_model;
    base := regexp_replace(model.physical_table, '_r\d+$', '');
    execute format('drop view if exists pg_temp.%I', of_model);
    for leftover in
        select relname from pg_class
        where relnamespace = 'public'::regnamespace and relkind = 'r' and relname ~ format('^%s(_r\d+)?$', base)
          and relname <> model.physical_table
    loop
        execute format('drop table %I', leftover);
    end loop;
    update read_models set previous_table = null where name = of_model;

    select base || '_r' || 1 + coalesce(max(substring(relname from '_r(\d+)$')::integer), 0) into fresh
    from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and relname ~ format('^%s(_r\d+)?$', base);
    execute format('create table %I (like %I including comments including constraints including defaults including storage)', fresh, model.physical_table);
    select array_to_string(reloptions, ', '), pg_get_userbyid(relowner) into options, owner
    from pg_class where oid = model.physical_table::regclass;
    if options is not null then
        execute format('alter table %I set (%s)', fresh, options);
    end if;
    for tuned in
        select attname, array_to_string(attoptions, ', ') as options
        from pg_attribute where attrelid = model.physical_table::regclass and attoptions is not null
    loop
        execute format('alter table %I alter %I set (%s)', fresh, tuned.attname, tuned.options);
    end loop;
    execute format('alter table %I owner to %I', fresh, owner);
    execute format('create temporary view %I as select * from %I', of_model, fresh);
    return fresh;
end
$$;

-- Gives the new table the indexes of the live one, now that it is filled, and its statistics.
create function index_rebuilt(of_model text, fresh text) returns void
language plpgsql set search_path from current as $$
declare
    live text := (select physical_table from read_models where name = of_model);
    made record;
begin
    for made in
        select fresh || substr(c.relname, length(live) + 1) as name, i.indisunique as is_unique, i.indisprimary as is_primary,
            substring(pg_get_indexdef(i.indexrelid) from ' USING .*') as definition
        from pg_index i join pg_class c on c.oid = i.indexrelid
        where i.indrelid = live::regclass
    loop
        execute format('create %s index %I on %I %s', case when made.is_unique then 'unique' end, made.name, fresh, made.definition);
        if made.is_primary then
            execute format('alter table %I add constraint %I primary key using index %I', fresh, made.name, made.name);
        end if;
    end loop;
    execute format('analyze %I', fresh);
end
$$;

-- Puts the new table behind the view; the one that was live stays until the next rebuild.
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

revoke execute on function begin_rebuild, index_rebuilt, switch_read_model, end_rebuild from public;
