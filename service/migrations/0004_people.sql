-- People: how members are called and reached, their passwords, their sessions, and how often signing in was tried. Written in
-- the transaction of the event it belongs to, never in the event, so that a person can be forgotten and the log stays whole.

create table people (
    member_id text collate "C" primary key,
    organization text collate "C" not null,
    email text not null,
    email_key text collate "C" not null,
    name text not null,
    is_removed boolean not null default false
);
comment on table people is 'Members'' names and addresses. Of one who was removed they stay for those who read the history, until the operator has the person forgotten; the address is free again at once';
create unique index people_address on people (organization, email_key) where not is_removed;
create index people_sign_in on people (email_key) where not is_removed;

create table passwords (
    member_id text collate "C" primary key,
    organization text collate "C" not null,
    generation integer not null check (generation > 0),
    verifier text not null check (verifier like '$argon2id$%'),
    pepper_id text collate "C" not null,
    must_change boolean not null,
    expires_at timestamptz,
    changed_at timestamptz not null default clock_timestamp(),
    check (must_change or expires_at is null)
);
comment on table passwords is 'What members'' passwords are verified with. A session lives no longer than the generation it began in: a new password begins another, and so does signing out everywhere';

create table member_sessions (
    id text collate "C" primary key,
    digest bytea not null unique check (octet_length(digest) = 32),
    member_id text collate "C" not null,
    organization text collate "C" not null,
    generation integer not null,
    started_at timestamptz not null,
    authenticated_at timestamptz not null,
    last_seen_at timestamptz not null,
    proof bytea not null check (octet_length(proof) = 32)
) with (fillfactor = 80);
comment on table member_sessions is 'The sessions of members who signed in: found by a keyed digest of the cookie; the proof is a MAC of the row under that cookie and the pepper, so that no planted or altered row is a session';
create index member_sessions_member on member_sessions (member_id);
create index member_sessions_started_at on member_sessions (started_at);

create table sign_in_attempts (
    key bytea primary key check (octet_length(key) = 32),
    due_at timestamptz not null,
    is_refused boolean not null
);
comment on table sign_in_attempts is 'How often signing in was tried of late, by a keyed digest of the account or of the network address: when the tries so far are paid for, at the rate that is allowed, and whether the last one was refused';

-- When a session ends by itself: half an hour after it was used last, and twelve hours after it began in any case.
create function member_session_ends_at(started_at timestamptz, last_seen_at timestamptz) returns timestamptz
language sql immutable as $$
    select least(started_at + interval '12 hours', last_seen_at + interval '30 minutes')
$$;

-- The companions of an append. They are called in the order of their names: what ends goes before what begins.
create function end_member_sessions(rows json) returns void
language plpgsql set search_path from current as $$
begin
    delete from member_sessions s using json_to_recordset(rows) r (member_id text, session_id text)
    where s.member_id = r.member_id and (r.session_id is null or s.id = r.session_id);
end
$$;

create function write_people(rows json) returns void
language plpgsql set search_path from current as $$
begin
    insert into people (member_id, organization, email, email_key, name)
    select r.member_id, r.organization, r.email, r.email_key, r.name from json_populate_recordset(null::people, rows) r;
end
$$;

create function write_passwords(rows json) returns void
language plpgsql set search_path from current as $$
begin
    insert into passwords as p (member_id, organization, generation, verifier, pepper_id, must_change, expires_at)
    select r.member_id, r.organization, r.generation, r.verifier, r.pepper_id, r.must_change, r.expires_at
    from json_populate_recordset(null::passwords, rows) r
    on conflict (member_id) do update set
        generation = greatest(p.generation + 1, excluded.generation), verifier = excluded.verifier,
        pepper_id = excluded.pepper_id, must_change = excluded.must_change, expires_at = excluded.expires_at,
        changed_at = clock_timestamp();
end
$$;

-- The same password, hashed anew: no session ends.
create function rehash_passwords(rows json) returns void
language plpgsql set search_path from current as $$
begin
    update passwords p set verifier = r.verifier, pepper_id = r.pepper_id
    from json_to_recordset(rows) r (member_id text, generation integer, verifier text, pepper_id text)
    where p.member_id = r.member_id and p.generation = r.generation;
end
$$;

create function remove_people(rows json) returns void
language plpgsql set search_path from current as $$
begin
    update people p set is_removed = true from json_to_recordset(rows) r (member_id text) where p.member_id = r.member_id;
    delete from passwords p using json_to_recordset(rows) r (member_id text) where p.member_id = r.member_id;
end
$$;

create function write_member_sessions(rows json) returns void
language plpgsql set search_path from current as $$
begin
    insert into member_sessions select r.* from json_populate_recordset(null::member_sessions, rows) r;
end
$$;

create function end_generations(rows json) returns void
language plpgsql set search_path from current as $$
begin
    update passwords p set generation = p.generation + 1
    from json_to_recordset(rows) r (member_id text) where p.member_id = r.member_id;
end
$$;

-- The guard of people. A session acts as `ses_…:ROLE`: it is refused when it has ended or its member has another role by now.
-- Who signs in acts as `mem_…:GENERATION`: refused when the password that was verified is not the current one any more.
create function people_refused(actors text[]) returns text[]
language plpgsql stable as $$
begin
    return array(
        select a.id
        from unnest(actors) a (id)
        where (starts_with(a.id, 'ses_') and not exists (
            select from member_sessions s
            join passwords p on p.member_id = s.member_id and p.generation = s.generation
            join members m on m.id = s.member_id
            where s.id = split_part(a.id, ':', 1) and m.role = split_part(a.id, ':', 2) and m.removed_at is null
                and member_session_ends_at(s.started_at, s.last_seen_at) > clock_timestamp()
        ))
        or (starts_with(a.id, 'mem_') and not exists (
            select from passwords p
            join members m on m.id = p.member_id
            where p.member_id = split_part(a.id, ':', 1) and p.generation::text = split_part(a.id, ':', 2)
                and m.removed_at is null and (p.expires_at is null or p.expires_at > clock_timestamp())
        ))
    );
end
$$;

select register_append_hook('companion', 'people_ended_sessions', 'end_member_sessions');
select register_append_hook('companion', 'people_new', 'write_people');
select register_append_hook('companion', 'people_passwords', 'write_passwords');
select register_append_hook('companion', 'people_rehashed', 'rehash_passwords');
select register_append_hook('companion', 'people_removed', 'remove_people');
select register_append_hook('companion', 'people_sessions', 'write_member_sessions');
select register_append_hook('companion', 'people_signed_out', 'end_generations');
select register_append_hook('guard', 'people', 'people_refused');

revoke execute on function end_member_sessions, write_people, write_passwords, rehash_passwords, remove_people,
    write_member_sessions, end_generations, people_refused from public;
grant select on people, passwords, member_sessions, sign_in_attempts to entri_service;
grant delete on people to entri_service;
grant update (last_seen_at), delete on member_sessions to entri_service;
grant insert, update, delete on sign_in_attempts to entri_service;
