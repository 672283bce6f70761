-- The Merkle trees over the log, kept as tiles; their signed checkpoints; and the generations that restores began.
-- The service's role grows them, and triggers see to it that it can do nothing else.

create table trees (
    tree text collate "C" primary key,
    size bigint not null default 0 check (size >= 0),
    wal_at pg_lsn not null default '0/0'
);
comment on table trees is 'The trees of RFC 9162: one for each organization''s history, named by its id, and the operator''s over the whole log, named by nothing. The lock on the operator''s row is the lease under which all of them grow';
comment on column trees.wal_at is 'All that the tree holds was in the write-ahead log before this place: what is safe up to here may be signed';
insert into trees (tree) values ('');

create table tree_tiles (
    tree text collate "C" not null,
    level smallint not null check (level between 0 and 60 and level % 6 = 0),
    tile bigint not null check (tile >= 0),
    hashes bytea not null check (octet_length(hashes) between 32 and 2048 and octet_length(hashes) % 32 = 0),
    primary key (tree, level, tile)
);
comment on table tree_tiles is 'Up to 64 hashes in a row of one level of a tree. Level 0 are the leaf hashes as they were when the tree took them in: a second copy, on purpose. Each hash of level 6, 12 … is the root of a full tile six levels below';
alter table tree_tiles alter column hashes set storage plain;

create table generations (
    generation integer primary key check (generation > 1),
    predecessor_size bigint not null check (predecessor_size >= 0),
    predecessor_root bytea not null check (octet_length(predecessor_root) = 32),
    restored_size bigint not null,
    began_at timestamptz not null default clock_timestamp()
);
comment on table generations is 'Each generation of the log but the first, which began when a restore was noticed: the last checkpoint known of the generation before it, and how long the log was then';

create table checkpoints (
    tree text collate "C" not null,
    generation integer not null,
    size bigint not null check (size >= 0),
    key_id text collate "C" not null,
    root bytea not null check (octet_length(root) = 32),
    text text not null,
    signed_at timestamptz not null default clock_timestamp(),
    primary key (tree, generation, size, key_id)
);
comment on table checkpoints is 'What was signed: each checkpoint''s whole note';

-- What is there stays; a tile may only get longer, a tree larger.
create trigger append_only_row before update on tree_tiles for each row
    when (not (new.tree = old.tree and new.level = old.level and new.tile = old.tile
        and substr(new.hashes, 1, octet_length(old.hashes)) = old.hashes))
    execute function refuse_change();
create trigger append_only_row before update on trees for each row
    when (not (new.tree = old.tree and new.size >= old.size)) execute function refuse_change();
create trigger append_only_row before update on generations for each row execute function refuse_change();
create trigger append_only_row before update on checkpoints for each row execute function refuse_change();
do $$
declare
    name text;
begin
    foreach name in array array['trees', 'tree_tiles', 'generations', 'checkpoints'] loop
        execute format('create trigger append_only_delete before delete on %I for each row execute function refuse_change()', name);
        execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', name);
    end loop;
end
$$;

-- Whether a failover or a crash would keep what was written up to a place in the write-ahead log: null where it would,
-- else why not. Where synchronous standbys are named, as many as a commit waits for must have flushed it. That is not a
-- matter of course for what one can see: a commit whose wait was cut short is there without it. A place beyond the
-- log's end is another server's, from which the database was copied.
create function why_wal_is_not_safe(place pg_lsn) returns text
language plpgsql security definer set search_path from current as $$
declare
    names text := trim(current_setting('synchronous_standby_names'));
    wanted integer := coalesce((regexp_match(names, '^(?:(?:first|any)\s+)?(\d+)\s*\(', 'i'))[1]::integer, 1);
    flushed pg_lsn;
begin
    place := least(place, pg_current_wal_insert_lsn());
    if place > pg_current_wal_flush_lsn() then
        return 'not_flushed';
    end if;
    if names = '' then
        return null;
    end if;
    if not pg_has_role(current_user, 'pg_read_all_stats', 'usage') then
        return 'may_not_see_standbys';
    end if;
    -- FIRST n: there are n at most, and all must have it. ANY n: n of all that are named.
    select r.flush_lsn into flushed from pg_stat_replication r
    where r.sync_state in ('sync', 'quorum') and r.flush_lsn is not null
    order by r.flush_lsn desc offset wanted - 1 limit 1;
    return case when flushed is null then 'standby_missing' when flushed < place then 'standby_behind' end;
end
$$;

-- Begins another generation after `known` was the current one; answers whether this caller did.
create function begin_generation(known integer, next integer, predecessor_size bigint, predecessor_root bytea) returns boolean
language plpgsql security definer set search_path from current as $$
begin
    update installation set generation = next where generation = known and next > known;
    if not found then
        return false;
    end if;
    insert into generations (generation, predecessor_size, predecessor_root, restored_size)
    select next, begin_generation.predecessor_size, begin_generation.predecessor_root, h.position from log_head h;
    return true;
end
$$;

revoke execute on function why_wal_is_not_safe, begin_generation from public;
grant execute on function why_wal_is_not_safe, begin_generation to entri_service;
grant select on trees, tree_tiles, generations, checkpoints to entri_service;
grant insert, update on trees, tree_tiles to entri_service;
grant insert on checkpoints to entri_service;
