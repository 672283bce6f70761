-- Archived usage: which partitions of usage were written to files and detached from the log, what each organization had in
-- them, and what read models had folded from them. Appends touch none of it. Only the owner archives.

create table archived_usage (
    from_position bigint primary key,
    to_position bigint not null unique check (to_position > from_position),
    events bigint not null check (events between 0 and to_position - from_position),
    last_recorded_at timestamptz not null,
    file text not null,
    file_bytes bigint not null,
    file_sha256 bytea not null check (octet_length(file_sha256) = 32),
    detached_table text collate "C" not null unique,
    archived_at timestamptz not null default clock_timestamp(),
    dropped_at timestamptz
);
comment on table archived_usage is 'The archive: a row for each partition of usage that is no longer part of the log, written when it was detached, and the file that holds its events. Always the oldest usage, without a gap: positions from from_position up to, not including, to_position';

create table archived_organizations (
    organization text collate "C" not null,
    from_position bigint not null references archived_usage deferrable initially deferred,
    first_position bigint not null,
    last_position bigint not null check (last_position >= first_position),
    events bigint not null check (events > 0),
    primary key (organization, from_position)
);
comment on table archived_organizations is 'What each organization has in each part of the archive, by positions of its own history';

create table archived_states (
    read_model text collate "C" not null,
    organization text collate "C" not null,
    key text collate "C" not null,
    state jsonb not null,
    primary key (read_model, organization, key)
);
comment on table archived_states is 'What a read model had folded for each key up to the end of the archive: where a rebuild''s fold of that key begins';

-- What is there stays; only that the detached table was dropped is noted later, once.
create trigger append_only_row before update on archived_usage for each row
    when (not (old.dropped_at is null and new.dropped_at is not null
        and (new.from_position, new.to_position, new.events, new.last_recorded_at, new.file, new.file_bytes, new.file_sha256,
             new.detached_table, new.archived_at)
          = (old.from_position, old.to_position, old.events, old.last_recorded_at, old.file, old.file_bytes, old.file_sha256,
             old.detached_table, old.archived_at)))
    execute function refuse_change();
create trigger append_only_row before update on archived_organizations for each row execute function refuse_change();
do $$
declare
    name text;
begin
    foreach name in array array['archived_usage', 'archived_organizations', 'archived_states'] loop
        execute format('create trigger append_only_delete before delete on %I for each row execute function refuse_change()', name);
        execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', name);
    end loop;
end
$$;

-- Takes a partition of usage out of the log and says so in the archive, in the caller's transaction: whoever reads sees
-- the partition, or the archive's row for it. Needs a moment in which nobody else uses `events_usage`: the caller limits its
-- wait and tries again. The table keeps its triggers; the service's role could read it through its parent only.
create function detach_usage_partition(
    lower_bound bigint, events bigint, last_recorded_at timestamptz, file text, file_bytes bigint, file_sha256 bytea
) returns void
language plpgsql set search_path from current as $$
declare
    partition event_partitions;
    detached text;
begin
    lock table events_usage in access exclusive mode;
    delete from event_partitions p where p.is_usage and p.from_position = lower_bound returning p.* into strict partition;
    detached := 'archived_' || partition.name;
    execute format('alter table events_usage detach partition %I', partition.name);
    execute format('alter table %I rename to %I', partition.name, detached);
    insert into archived_usage (from_position, to_position, events, last_recorded_at, file, file_bytes, file_sha256, detached_table)
    values (partition.from_position, partition.to_position, detach_usage_partition.events,
        detach_usage_partition.last_recorded_at, detach_usage_partition.file, detach_usage_partition.file_bytes,
        detach_usage_partition.file_sha256, detached);
end
$$;

-- Drops a detached table and says so in the archive. Nothing but the file holds its events then.
create function drop_archived_usage(lower_bound bigint) returns void
language plpgsql set search_path from current as $$
declare
    detached text;
begin
    update archived_usage set dropped_at = clock_timestamp()
    where from_position = lower_bound and dropped_at is null returning detached_table into strict detached;
    execute format('drop table %I', detached);
end
$$;

revoke execute on function detach_usage_partition, drop_archived_usage from public;
grant select on archived_usage, archived_organizations, archived_states to entri_service;
