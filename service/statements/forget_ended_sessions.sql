-- Forget sessions that have ended. No parameters. Rows: none.
delete from member_sessions s
where member_session_ends_at(s.started_at, s.last_seen_at) < clock_timestamp() - interval '10 minutes'
    or not exists (select from passwords p where p.member_id = s.member_id and p.generation = s.generation)
