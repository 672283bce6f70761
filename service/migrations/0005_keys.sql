-- Keys of keys: which processes can read which of the keys that live outside the database, so that nothing is written under
-- a key before all of them can read it; and a data key that outlives key-encryption keys. Where kinds are mixed, a key is
-- named with its kind: pepper/k1, kek/k2.

alter table vault_keys
    add column permitted_at timestamptz,
    add column superseded_at timestamptz;
comment on column vault_keys.permitted_at is 'Since when every process that holds keys can read it, so that it may be written under';
comment on column vault_keys.superseded_at is 'Since when a newer key is to be written under instead. When it is then permitted no more, nothing is under it, nor will be';

create table key_holders (
    holder text collate "C" primary key,
    name text not null,
    readable text[] not null,
    writes text[] not null,
    seen_at timestamptz not null default clock_timestamp()
);
comment on table key_holders is 'The processes that hold keys: which they can read, and which they may still write under, commands on their way included. One that was not seen for 10 seconds is gone';

create table vault_data_keys (
    name text collate "C" primary key,
    key_id text collate "C" not null,
    nonce bytea not null,
    ciphertext bytea not null
);
comment on table vault_data_keys is 'Random keys of our own, sealed under the key-encryption key key_id: what depends on them does not change when that one does';

-- Sealed replays were under keys derived from the key-encryption key; from now on they are sealed under it, and within that
-- under one derived from a data key. They are for retries within a day.
update replays set key_id = null, nonce = null, ciphertext = null where ciphertext is not null;

-- Says whether the secret of a generation works: of a token that is not known, it may.
create function secret_may_work(secret_generation integer, generation integer, revoked_at timestamptz, expires_at timestamptz, overlap_ends_at timestamptz)
returns boolean language sql stable as $$
    select generation is null or (
        revoked_at is null and coalesce(expires_at > clock_timestamp(), true)
        and (secret_generation = generation
            or (secret_generation = generation - 1 and coalesce(overlap_ends_at > clock_timestamp(), false))))
$$;

-- Says whether something that still matters is under a key: a secret that works, a password, something sealed.
create function key_is_needed(of_kind text, of_key text) returns boolean
language plpgsql stable set search_path from current as $$
begin
    if of_kind = 'kek' then
        return exists (select from vault_data_keys where key_id = of_key)
            or exists (select from vault_seals where key_id = of_key)
            or exists (select from replays where key_id = of_key);
    end if;
    if to_regclass('passwords') is not null then
        if exists (select from passwords where pepper_id = of_key) then
            return true;
        end if;
    end if;
    return exists (
        select from vault_secrets v left join tokens t on t.id = v.token_id
        where v.pepper_id = of_key
            and secret_may_work(v.generation, t.generation, t.revoked_at, t.expires_at, t.overlap_ends_at));
end
$$;

-- Counts what still matters under each key.
create function key_uses() returns table (kind text, key_id text, what text, uses bigint)
language plpgsql stable set search_path from current as $$
begin
    return query
        select 'pepper', v.pepper_id, 'secrets', count(*)
        from vault_secrets v left join tokens t on t.id = v.token_id
        where secret_may_work(v.generation, t.generation, t.revoked_at, t.expires_at, t.overlap_ends_at)
        group by v.pepper_id;
    if to_regclass('passwords') is not null then
        return query select 'pepper', p.pepper_id, 'passwords', count(*) from passwords p group by p.pepper_id;
    end if;
    return query select 'kek', s.key_id, 'seals', count(*) from vault_seals s group by s.key_id;
    return query select 'kek', r.key_id, 'replays', count(*) from replays r where r.key_id is not null group by r.key_id;
    return query select 'kek', d.key_id, 'data keys', count(*) from vault_data_keys d group by d.key_id;
end
$$;

-- Notes which keys a process can read and may still write under, and answers which keys may be written under and which of
-- those are superseded. One process at a time: so a key is permitted only when every process can read it, and no process
-- comes in that cannot read one that is permitted. Where it lacks one that is needed or written under, that is all that is
-- answered, and a process that is not noted yet stays out. What it lacks and nobody needs is permitted no more.
create function hold_keys(
    as_holder text, called text, can_read text[], may_write text[],
    out lacking text[], out permitted text[], out superseded text[]
)
language plpgsql set search_path from current as $$
declare
    missing record;
begin
    perform pg_advisory_xact_lock(4270009);
    delete from key_holders h where h.seen_at < clock_timestamp() - interval '10 seconds' and h.holder <> as_holder;

    lacking := '{}';
    for missing in
        select k.kind, k.key_id, k.kind || '/' || k.key_id as name from vault_keys k
        where k.permitted_at is not null and k.kind || '/' || k.key_id <> all (can_read)
        order by k.kind, k.key_id
    loop
        if exists (select from key_holders h where h.holder <> as_holder and missing.name = any (h.writes))
            or key_is_needed(missing.kind, missing.key_id) then
            lacking := lacking || missing.name;
        else
            update vault_keys k set permitted_at = null where k.kind = missing.kind and k.key_id = missing.key_id;
        end if;
    end loop;

    if lacking = '{}' or exists (select from key_holders h where h.holder = as_holder) then
        insert into key_holders as h (holder, name, readable, writes) values (as_holder, called, can_read, may_write)
        on conflict (holder) do update set readable = excluded.readable, writes = excluded.writes, seen_at = excluded.seen_at
        where h.readable <> excluded.readable or h.writes <> excluded.writes
            or h.seen_at < clock_timestamp() - interval '3 seconds';
        update vault_keys k set permitted_at = clock_timestamp()
        where k.permitted_at is null
            and not exists (select from key_holders h where k.kind || '/' || k.key_id <> all (h.readable));
    end if;

    select coalesce(array_agg(k.kind || '/' || k.key_id), '{}'),
        coalesce(array_agg(k.kind || '/' || k.key_id) filter (where k.superseded_at is not null), '{}')
    into permitted, superseded
    from vault_keys k where k.permitted_at is not null;
end
$$;
revoke execute on function secret_may_work, key_is_needed, key_uses, hold_keys from public;
grant execute on function secret_may_work, key_is_needed, key_uses, hold_keys to entri_service;

grant select, insert, update, delete on key_holders to entri_service;
grant select, insert, update (key_id, nonce, ciphertext) on vault_data_keys to entri_service;
grant update (permitted_at, superseded_at) on vault_keys to entri_service;
grant update (digest_prefix, pepper_id, verifier) on vault_secrets to entri_service;
