-- Note that sessions were used, if they had not ended by then. Waits for nobody: one that is being ended, or noted by
-- another process, is left to that. $1 sessions, $2 how many seconds ago each. Rows: none.
with used as (
    select s.id, u.seen_at
    from (
        select t.id, clock_timestamp() - make_interval(secs => t.ago_s) as seen_at
        from unnest($1::text[], $2::float8[]) t (id, ago_s)
    ) u
    join member_sessions s on s.id = u.id
    where s.last_seen_at < u.seen_at and member_session_ends_at(s.started_at, s.last_seen_at) > u.seen_at
    for update of s skip locked
)
update member_sessions s set last_seen_at = used.seen_at from used where s.id = used.id
