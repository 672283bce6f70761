-- Find tokens of an organization with their use. $1 organization, $2 ids.
-- Rows: the columns of tokens, then use_count … previous_last_used_at of token_last_used (null: nothing is known yet).
select t.id, t.organization, t.kind, t.name, t.hint, t.scopes, t.application_id, t.created_at, t.created_by_kind, t.created_by_id,
    t.expires_at, t.generation, t.rotated_at, t.previous_hint, t.overlap_ends_at, t.new_secret_used_at, t.revoked_at,
    t.revoked_reason, t.designation, u.use_count, u.last_used_at, u.newest_generation, u.newest_last_used_at, u.previous_last_used_at
from tokens t
left join token_last_used u on u.token_id = t.id
where t.organization = $1 and t.id = any ($2::text[])
