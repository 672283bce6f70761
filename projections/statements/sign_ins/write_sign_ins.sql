-- Insert or update when members signed in. $1 a JSON array of rows, at most one a member.
insert into member_sign_ins
select r.* from jsonb_populate_recordset(null::member_sign_ins, $1::text::jsonb) r
on conflict (member_id) do update set last_signed_in_at = excluded.last_signed_in_at
