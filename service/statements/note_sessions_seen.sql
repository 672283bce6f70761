-- Note that sessions were used, if they had not ended by then. $1 sessions, $2 how many seconds ago each. Rows: none.
update member_sessions s set last_seen_at = clock_timestamp() - make_interval(secs => u.ago_s)
from unnest($1::text[], $2::float8[]) u (id, ago_s)
where s.id = u.id and s.last_seen_at < clock_timestamp() - make_interval(secs => u.ago_s)
    and member_session_ends_at(s.started_at, s.last_seen_at) > clock_timestamp() - make_interval(secs => u.ago_s)
