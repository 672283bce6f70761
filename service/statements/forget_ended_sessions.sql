-- Forget sessions that have ended, but for those that somebody else is changing just now. No parameters. Rows: none.
delete from member_sessions d
where d.id in (
    select s.id from member_sessions s
    where member_session_ends_at(s.started_at, s.last_seen_at) < clock_timestamp() - interval '10 minutes'
        or not exists (select from passwords p where p.member_id = s.member_id and p.generation = s.generation)
    for update of s skip locked
)
