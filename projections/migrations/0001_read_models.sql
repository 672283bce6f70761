-- The read models: what the log looks like now. Tables carry a version and may be replaced by a rebuild; the views are
-- the stable names that everything reads and writes through. `tokens` and `organizations` are written within each append
-- by companion functions, `token_last_used` follows from its checkpoint.
--
-- `n_distinct = 1` lets a plan that is made for every organization expect as many rows as the largest one has: a page
-- then walks its index, which is right for large ones and costs small ones nothing.

create table read_models (
    name text collate "C" primary key,
    physical_table text not null,
    previous_table text,
    position bigint,
    updated_at timestamptz not null default clock_timestamp()
);
comment on table read_models is 'Which table of each read model is live, which was before it, and the last position it holds: its checkpoint. A null position is a model written within the append, always at the head of the log';

create table tokens_v1 (
    id text collate "C" primary key,
    organization text collate "C" not null,
    kind text collate "C" not null,
    name text not null,
    hint text collate "C" not null,
    scopes text[] not null,
    application_id text collate "C",
    created_at timestamptz not null,
    created_by_kind text collate "C" not null,
    created_by_id text collate "C" not null,
    expires_at timestamptz,
    generation integer not null,
    rotated_at timestamptz,
    previous_hint text collate "C",
    overlap_ends_at timestamptz,
    new_secret_used_at timestamptz,
    revoked_at timestamptz,
    revoked_reason text
) with (fillfactor = 90);
comment on table tokens_v1 is 'Every token as it is now';
alter table tokens_v1 alter organization set (n_distinct = 1);
create index tokens_v1_created_at on tokens_v1 (organization, created_at, id);
create index tokens_v1_expires_at on tokens_v1 (organization, coalesce(expires_at, 'infinity'), id);
create index tokens_v1_name on tokens_v1 (organization, (lower(name) collate "C"), id);
create view tokens as
    select id, organization, kind, name, hint, scopes, application_id, created_at, created_by_kind, created_by_id, expires_at,
        generation, rotated_at, previous_hint, overlap_ends_at, new_secret_used_at, revoked_at, revoked_reason
    from tokens_v1;

create table organizations_v1 (
    id text collate "C" primary key,
    name text not null,
    created_at timestamptz not null
);
comment on table organizations_v1 is 'Every organization as it is now';
create view organizations as select id, name, created_at from organizations_v1;

create table token_last_used_v1 (
    token_id text collate "C" primary key,
    organization text collate "C" not null,
    use_count bigint not null,
    last_used_at timestamptz,
    newest_generation integer not null,
    newest_last_used_at timestamptz,
    previous_last_used_at timestamptz
) with (fillfactor = 80);
comment on table token_last_used_v1 is 'How often and when each token was used last, and when its newest used secret and the one before it were';
alter table token_last_used_v1 alter organization set (n_distinct = 1);
create index token_last_used_v1_last_used_at on token_last_used_v1 (organization, coalesce(last_used_at, '-infinity'), token_id);
create view token_last_used as
    select token_id, organization, use_count, last_used_at, newest_generation, newest_last_used_at, previous_last_used_at
    from token_last_used_v1;

insert into read_models (name, physical_table, position) values
    ('tokens', 'tokens_v1', null),
    ('organizations', 'organizations_v1', null),
    ('token_last_used', 'token_last_used_v1', 0);

-- The companion of `tokens`; rows are as the view's, at most one a token. It has no search path of its own: within an
-- append that of append_events holds, within a rebuild a temporary view stands before the live one.
create function write_tokens(rows json) returns void
language plpgsql as $$
begin
    insert into tokens as t
    select r.* from json_populate_recordset(null::tokens, rows) r
    on conflict (id) do update set
        organization = excluded.organization, kind = excluded.kind, name = excluded.name, hint = excluded.hint,
        scopes = excluded.scopes, application_id = excluded.application_id, created_at = excluded.created_at,
        created_by_kind = excluded.created_by_kind, created_by_id = excluded.created_by_id,
        expires_at = excluded.expires_at, generation = excluded.generation, rotated_at = excluded.rotated_at,
        previous_hint = excluded.previous_hint, overlap_ends_at = excluded.overlap_ends_at,
        new_secret_used_at = excluded.new_secret_used_at, revoked_at = excluded.revoked_at,
        revoked_reason = excluded.revoked_reason;
end
$$;

-- The companion of tokens just created: nothing can have such a row yet, so nothing is looked for.
create function write_new_tokens(rows json) returns void
language plpgsql as $$
begin
    insert into tokens select r.* from json_populate_recordset(null::tokens, rows) r;
end
$$;

-- The companion of `organizations`, like write_tokens.
create function write_organizations(rows json) returns void
language plpgsql as $$
begin
    insert into organizations
    select r.* from json_populate_recordset(null::organizations, rows) r
    on conflict (id) do update set name = excluded.name, created_at = excluded.created_at;
end
$$;

-- The guard of `tokens`: of the ids given, those of tokens that are missing, revoked or expired. One probe of the
-- primary key each: as a join it could be planned to read the whole table.
create function tokens_refused(actors text[]) returns text[]
language plpgsql stable as $$
begin
    return array(
        select a.id
        from unnest(actors) a (id)
        where starts_with(a.id, 'tok_') and not coalesce(
            (select t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp()) from tokens t where t.id = a.id),
            false)
    );
end
$$;

select register_append_hook('companion', 'tokens', 'write_tokens');
select register_append_hook('companion', 'new_tokens', 'write_new_tokens');
select register_append_hook('companion', 'organizations', 'write_organizations');
select register_append_hook('guard', 'tokens', 'tokens_refused');

revoke execute on function write_tokens, write_new_tokens, write_organizations, tokens_refused from public;
grant select on read_models, tokens, organizations, token_last_used to entri_service;
grant insert, update on token_last_used to entri_service;
grant update (position, updated_at) on read_models to entri_service;
