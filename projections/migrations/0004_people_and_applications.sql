-- The read models of applications and members, and the tokens' with one column more: the last time that a token was chosen
-- to sign webhooks. A read model's table is not altered: the new one takes the place of the old, which had the same rows.

create table tokens_v2 (
    id text collate "C" not null,
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
    revoked_reason text,
    designation integer
) with (fillfactor = 90);
comment on table tokens_v2 is 'Every token as it is now';
insert into tokens_v2 select t.*, null from tokens t;
alter table tokens_v2 add primary key (id);
alter table tokens_v2 alter organization set (n_distinct = 1);
create index tokens_v2_created_at on tokens_v2 (organization, created_at, id);
create index tokens_v2_expires_at on tokens_v2 (organization, coalesce(expires_at, 'infinity'), id);
create index tokens_v2_name on tokens_v2 (organization, (lower(name) collate "C"), id);
-- Few tokens are in these two.
create index tokens_v2_application on tokens_v2 (application_id) where application_id is not null;
create index tokens_v2_designation on tokens_v2 (organization, designation) where designation is not null;
create or replace view tokens as
    select id, organization, kind, name, hint, scopes, application_id, created_at, created_by_kind, created_by_id, expires_at,
        generation, rotated_at, previous_hint, overlap_ends_at, new_secret_used_at, revoked_at, revoked_reason, designation
    from tokens_v2;
do $$
declare
    left_over text;
begin
    for left_over in select relname from pg_class where relkind = 'r' and relname ~ '^tokens_v1(_r\d+)?$' loop
        execute format('drop table %I', left_over);
    end loop;
end
$$;
delete from rebuilds where name = 'tokens';
update read_models set physical_table = 'tokens_v2', previous_table = null where name = 'tokens';

create or replace function write_tokens(rows json) returns void
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
        revoked_reason = excluded.revoked_reason, designation = excluded.designation;
end
$$;

create table applications_v1 (
    id text collate "C" primary key,
    organization text collate "C" not null,
    name text not null,
    environment text collate "C" not null,
    secret_policy text collate "C" not null,
    created_at timestamptz not null,
    deleted_at timestamptz
);
comment on table applications_v1 is 'Every application as it is now';
alter table applications_v1 alter organization set (n_distinct = 1);
create index applications_v1_created_at on applications_v1 (organization, created_at, id) where deleted_at is null;
create view applications as
    select id, organization, name, environment, secret_policy, created_at, deleted_at from applications_v1;

create table members_v1 (
    id text collate "C" primary key,
    organization text collate "C" not null,
    role text collate "C" not null,
    created_at timestamptz not null,
    created_by_kind text collate "C" not null,
    created_by_id text collate "C" not null,
    removed_at timestamptz
);
comment on table members_v1 is 'Every member as it is now; what they are called is elsewhere, so that it can be forgotten';
alter table members_v1 alter organization set (n_distinct = 1);
create index members_v1_created_at on members_v1 (organization, created_at, id) where removed_at is null;
create view members as
    select id, organization, role, created_at, created_by_kind, created_by_id, removed_at from members_v1;

create table member_sign_ins_v1 (
    member_id text collate "C" primary key,
    organization text collate "C" not null,
    last_signed_in_at timestamptz
) with (fillfactor = 80);
comment on table member_sign_ins_v1 is 'When each member signed in last';
create view member_sign_ins as select member_id, organization, last_signed_in_at from member_sign_ins_v1;

insert into read_models (name, physical_table, position) values
    ('applications', 'applications_v1', null),
    ('members', 'members_v1', null),
    ('member_sign_ins', 'member_sign_ins_v1', 0);

-- The companions of `applications` and `members`, like write_tokens.
create function write_applications(rows json) returns void
language plpgsql as $$
begin
    insert into applications
    select r.* from json_populate_recordset(null::applications, rows) r
    on conflict (id) do update set
        organization = excluded.organization, name = excluded.name, environment = excluded.environment,
        secret_policy = excluded.secret_policy, created_at = excluded.created_at, deleted_at = excluded.deleted_at;
end
$$;

create function write_members(rows json) returns void
language plpgsql as $$
begin
    insert into members
    select r.* from json_populate_recordset(null::members, rows) r
    on conflict (id) do update set
        organization = excluded.organization, role = excluded.role, created_at = excluded.created_at,
        created_by_kind = excluded.created_by_kind, created_by_id = excluded.created_by_id,
        removed_at = excluded.removed_at;
end
$$;

select register_append_hook('companion', 'applications', 'write_applications');
select register_append_hook('companion', 'members', 'write_members');

revoke execute on function write_applications, write_members from public;
grant select on applications, members, member_sign_ins to entri_service;
grant insert, update on member_sign_ins to entri_service;
