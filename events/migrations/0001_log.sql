-- The log: an append-only table of entries in two gapless orders, its heads, and the index that keeps ids unique.
-- The service's role may read it and, through functions, add to it: nothing else.

do $$
begin
    if not exists (select from pg_roles where rolname = 'entri_service') then
        create role entri_service nologin;
        execute format('grant entri_service to %I', current_user);
    end if;
exception when insufficient_privilege then
    raise exception 'the role entri_service does not exist and % may not create it', current_user
        using hint = 'as a superuser: create role entri_service nologin';
end
$$;
grant usage on schema public to entri_service;
grant select on schema_migrations to entri_service;

create table installation (
    one boolean primary key default true check (one),
    id text collate "C" not null default 'ins_' || replace(gen_random_uuid()::text, '-', ''),
    generation integer not null default 1,
    cursor_key bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    created_at timestamptz not null default clock_timestamp()
);
comment on table installation is 'What this log is: its name in proofs, its generation (a restore begins another), and the key that cursors are sealed with';
insert into installation default values;

create table log_head (
    one boolean primary key default true check (one),
    position bigint not null,
    recorded_at timestamptz not null
);
comment on table log_head is 'The last position of the whole log';
insert into log_head (position, recorded_at) values (0, '-infinity');

create table organization_heads (
    organization text collate "C" primary key,
    position bigint not null
);
comment on table organization_heads is 'The last position of each organization''s history';

create table event_index (
    event_id text collate "C" primary key,
    position bigint not null,
    organization_position bigint not null,
    stream text collate "C" not null,
    version integer
);
comment on table event_index is 'Keeps event ids, and versions within a stream, unique across all partitions of the log; a stream''s last version here is what an expected version is checked against';
create unique index event_index_stream on event_index (stream, version) where version is not null;

create table events (
    is_usage boolean not null,
    position bigint not null,
    organization text collate "C" not null,
    organization_position bigint not null,
    recorded_at timestamptz not null,
    occurred_at timestamptz not null,
    type text collate "C" not null,
    subject text collate "C" not null,
    actor text collate "C" not null,
    entry bytea not null,
    leaf_hash bytea generated always as (sha256('\x00'::bytea || entry)) stored
) partition by list (is_usage);
comment on table events is 'The log. Only `entry` is the event; the columns beside it exist to search it and to place it';
alter table events alter column entry set storage plain;

create table events_decisions partition of events for values in (false) partition by range (position);
create table events_usage partition of events for values in (true) partition by range (position);
create index events_position on events (position);
create index events_organization on events (organization, organization_position);
create index events_subject on events (organization, subject, organization_position);

create table event_partitions (
    name text primary key,
    is_usage boolean not null,
    from_position bigint not null,
    to_position bigint not null check (to_position > from_position),
    unique (is_usage, from_position)
);
comment on table event_partitions is 'Which range of positions, upper bound excluded, each partition of the log holds';

create function refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception 'the log is append-only: % on % is refused', tg_op, tg_table_name using errcode = 'restrict_violation';
end
$$;

create trigger append_only_truncate before truncate on events for each statement execute function refuse_change();
create trigger append_only_truncate before truncate on events_decisions for each statement execute function refuse_change();
create trigger append_only_truncate before truncate on events_usage for each statement execute function refuse_change();

-- Makes one partition as a table of its own and attaches it while it is empty: no lock stops the writers meanwhile. Its
-- triggers are its own too, since those of a parent do not see a statement that names the partition.
create function make_event_partition(of_usage boolean, lower_bound bigint, size bigint) returns void
language plpgsql security definer set search_path from current as $$
declare
    parent text := case when of_usage then 'events_usage' else 'events_decisions' end;
    child text := format('%s_%s', parent, lower_bound);
    upper_bound bigint := lower_bound + size;
begin
    execute format('create table %I (like %I including defaults including constraints including generated including storage)', child, parent);
    execute format('create trigger append_only_row before update or delete on %I for each row execute function refuse_change()', child);
    execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', child);
    execute format('alter table %I attach partition %I for values from (%s) to (%s)', parent, child, lower_bound, upper_bound);
    insert into event_partitions (name, is_usage, from_position, to_position)
    values (child, of_usage, lower_bound, upper_bound);
end
$$;

-- Makes partitions of `size` positions until those past the head cover at least half of one; answers the first
-- position that has none. A fixed advisory lock keeps two callers from making the same one.
create function ensure_event_partitions(size bigint) returns bigint
language plpgsql security definer set search_path from current as $$
declare
    covered bigint;
begin
    perform pg_advisory_xact_lock(4270002);
    loop
        select coalesce(max(to_position), 1) into covered from event_partitions where not is_usage;
        exit when covered > (select position from log_head) + size / 2;
        perform make_event_partition(false, covered, size);
        perform make_event_partition(true, covered, size);
    end loop;
    return covered;
end
$$;

create table append_hooks (
    kind text not null check (kind in ('guard', 'companion')),
    name text not null,
    function regproc not null,
    primary key (kind, name)
);
comment on table append_hooks is 'What the layers above asked to happen within an append: see register_append_hook';

-- Asks that a function be called within every append that concerns it. A guard takes actor ids (text[]) and answers those
-- that may no longer act (text[]); a companion takes the rows of its name (a json array) and writes them (void). The two
-- functions that append_events calls are written anew, with the calls in them, so that their plans are kept.
create function register_append_hook(of_kind text, of_name text, of_function regproc) returns void
language plpgsql set search_path from current as $$
declare
    guards text;
    companions text;
begin
    insert into append_hooks (kind, name, function) values (of_kind, of_name, of_function);
    select string_agg(format('    refused := refused || %s(actors);', function), e'\n' order by name) into guards
    from append_hooks where kind = 'guard';
    select string_agg(format('    if companion = %L then result := %s(rows); return; end if;', name, function), e'\n' order by name)
    into companions
    from append_hooks where kind = 'companion';
    execute format($template$
        create or replace function append_guards(actors text[], out refused text[]) language plpgsql as $hook$
        begin
            refused := '{}';
            %s
        end
        $hook$
    $template$, guards);
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

revoke execute on function make_event_partition, ensure_event_partitions, register_append_hook from public;
grant execute on function ensure_event_partitions to entri_service;
grant select on installation, log_head, organization_heads, event_index, events, events_decisions, events_usage, event_partitions to entri_service;
