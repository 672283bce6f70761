-- Find what the password of the member of a session is verified with, if that session goes on. $1 session, $2 member.
-- One row or none: member_id, organization, generation, verifier, pepper_id, must_change, expires_at, is_expired,
-- started_at (of the session), email, name.
select w.member_id, w.organization, w.generation, w.verifier, w.pepper_id, w.must_change, w.expires_at,
    coalesce(w.expires_at <= clock_timestamp(), false) as is_expired, s.started_at, p.email, p.name
from member_sessions s
join passwords w on w.member_id = s.member_id and w.generation = s.generation
join people p on p.member_id = w.member_id
where s.id = $1 and s.member_id = $2
