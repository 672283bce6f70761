-- Revocation: the log of changes to what processes remember of tokens, and the registry of the processes that do.
-- How they keep a revoked token from being accepted: docs/explanation/revocation.md.

create table auth_epoch (
    one boolean primary key default true check (one),
    n bigint not null
);
comment on table auth_epoch is 'How many changes to what processes remember were committed: the last position of revocation_log';
insert into auth_epoch (n) values (0);

create table revocation_log (
    position bigint primary key,
    subject text collate "C" not null,
    event_id text collate "C" not null unique,
    restricting boolean not null,
    committed_at timestamptz not null default clock_timestamp(),
    fenced_at timestamptz,
    fence jsonb,
    check ((fenced_at is null) = (fence is null))
);
comment on table revocation_log is 'Every change to what processes remember of a token (subject), in commit order without gaps; a restricting one is fenced when no process can accept what it forbids any more';
create index revocation_log_subject on revocation_log (subject, position) where restricting;
create index revocation_log_unfenced on revocation_log (committed_at) where restricting and fenced_at is null;
create index revocation_log_age on revocation_log (committed_at);

create table auth_node (
    incarnation text collate "C" primary key,
    node_name text not null,
    lease_ms integer not null check (lease_ms between 500 and 30000),
    renewals bigint not null default 0,
    applied bigint not null,
    started_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on table auth_node is 'The processes that verify keys from memory. An incarnation is never used again: a restarted process has another';

-- The companion of an append that logs changes, called under the log's lock: so positions are in commit order. One
-- message a batch says which changes there are now and, while it is short enough for one, of which tokens.
create function write_revocations(rows json) returns void
language plpgsql set search_path from current as $$
declare
    logged integer := json_array_length(rows);
    last_position bigint;
    said text;
begin
    if logged = 0 then
        return;
    end if;
    update auth_epoch set n = n + logged returning n into last_position;
    insert into revocation_log (position, subject, event_id, restricting)
    select last_position - logged + r.n, r.subject, r.event_id, r.restricting
    from rows from (json_to_recordset(rows) as (subject text, event_id text, restricting boolean)) with ordinality
        r (subject, event_id, restricting, n);
    select string_agg(r ->> 'subject', ',') into said from json_array_elements(rows) r;
    perform pg_notify('auth_inv', format('%s:%s:%s', last_position - logged + 1, last_position,
        case when octet_length(said) < 7900 then said end));
end
$$;
revoke execute on function write_revocations from public;
select register_append_hook('companion', 'revocations', 'write_revocations');

grant select on auth_epoch, revocation_log to entri_service;
grant update (fenced_at, fence), delete on revocation_log to entri_service;
grant select, insert, update, delete on auth_node to entri_service;
