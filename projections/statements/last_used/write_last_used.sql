-- Insert or update how tokens were used. $1 a JSON array of rows, at most one a token.
insert into token_last_used
select r.* from jsonb_populate_recordset(null::token_last_used, $1::text::jsonb) r
on conflict (token_id) do update set
    use_count = excluded.use_count, last_used_at = excluded.last_used_at,
    newest_generation = excluded.newest_generation, newest_last_used_at = excluded.newest_last_used_at,
    previous_last_used_at = excluded.previous_last_used_at
