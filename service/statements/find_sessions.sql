-- Find the sessions behind digests, their members as they are now, and the epoch that this is as of. $1 digests.
-- Rows: one each, of epoch, peppers (none is asked for), asked, and where it is known the session's columns, role, must_change, is_over (its member was
-- removed or its generation has passed), and left_s: in how many seconds it ends by itself.
select e.n as epoch, '{}'::text[] as peppers, a.digest as asked, c.*
from auth_epoch e
cross join unnest($1::bytea[]) a (digest)
left join lateral (
    select s.id, s.member_id, s.organization, s.generation, s.started_at, s.authenticated_at, s.proof,
        m.role, coalesce(p.must_change, true) as must_change,
        p.member_id is null or m.id is null or m.removed_at is not null or p.generation <> s.generation as is_over,
        extract(epoch from member_session_ends_at(s.started_at, s.last_seen_at) - clock_timestamp())::float8 as left_s
    from member_sessions s
    left join passwords p on p.member_id = s.member_id and p.organization = s.organization
    left join members m on m.id = s.member_id and m.organization = s.organization
    where s.digest = a.digest
) c on true
