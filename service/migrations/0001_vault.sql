-- The vault: verifiers of secrets and sealed replays, written in the transaction of the event they belong to, never in
-- the event; and the markers by which a crash that loses uses is noticed.

create table vault_secrets (
    token_id text collate "C" not null,
    generation integer not null,
    organization text collate "C" not null,
    digest_prefix bytea not null unique check (length(digest_prefix) = 16),
    pepper_id text collate "C" not null,
    verifier text not null check (verifier like '$argon2id$%'),
    primary key (token_id, generation)
);
comment on table vault_secrets is 'One secret a row: where a presented key is found (the first 16 bytes of its keyed digest) and what it is verified with';

create table replays (
    event_id text collate "C" primary key,
    organization text collate "C" not null,
    token_id text collate "C" not null,
    fingerprint bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    key_id text collate "C",
    nonce bytea,
    ciphertext bytea,
    check ((key_id is null) = (ciphertext is null) and (nonce is null) = (ciphertext is null))
);
comment on table replays is 'What an idempotency key led to. Its event id is derived from the key by HMAC, so the key itself is nowhere; the sealed secret goes when the token is rotated or revoked, or after 24 hours';
create index replays_token on replays (token_id) where ciphertext is not null;
create index replays_age on replays (created_at) where ciphertext is not null;

-- The companions of an append: the new secrets of tokens, the replays of commands that had an idempotency key, and the
-- tokens whose earlier secrets are not to be shown again. They are called in the order of their names: what is forgotten
-- goes before what is new.
create function write_vault_secrets(rows json) returns void
language plpgsql set search_path from current as $$
begin
    insert into vault_secrets select r.* from json_populate_recordset(null::vault_secrets, rows) r;
end
$$;

create function forget_vault_replays(rows json) returns void
language plpgsql set search_path from current as $$
begin
    update replays r set key_id = null, nonce = null, ciphertext = null
    from json_to_recordset(rows) f (token_id text)
    where r.token_id = f.token_id and r.ciphertext is not null;
end
$$;

create function write_vault_replays(rows json) returns void
language plpgsql set search_path from current as $$
begin
    insert into replays (event_id, organization, token_id, fingerprint, key_id, nonce, ciphertext)
    select r.event_id, r.organization, r.token_id, r.fingerprint, r.key_id, r.nonce, r.ciphertext
    from json_populate_recordset(null::replays, rows) r;
end
$$;
revoke execute on function write_vault_secrets, forget_vault_replays, write_vault_replays from public;
select register_append_hook('companion', 'vault_secrets', 'write_vault_secrets');
select register_append_hook('companion', 'vault_forget', 'forget_vault_replays');
select register_append_hook('companion', 'vault_replays', 'write_vault_replays');

create table usage_buffers (
    process text collate "C" not null,
    organization text collate "C" not null,
    buffered_from timestamptz not null,
    seen_at timestamptz not null,
    primary key (process, organization)
);
comment on table usage_buffers is 'For which organizations a process holds uses that are not in the log yet; one not seen for long has lost them';

grant select on vault_secrets to entri_service;
grant select, update (key_id, nonce, ciphertext) on replays to entri_service;
grant select, insert, update, delete on usage_buffers to entri_service;

create table vault_keys (
    kind text not null check (kind in ('pepper', 'kek')),
    key_id text collate "C" not null,
    check_value bytea not null,
    registered_at timestamptz not null default clock_timestamp(),
    primary key (kind, key_id)
);
comment on table vault_keys is 'The keys outside the database that its rows were written under: a check value tells another key under the same id';
grant select, insert on vault_keys to entri_service;
