-- Find the rows of tokens of any organization: in a rebuild. $1 ids. Rows: the columns of tokens.
select id, organization, kind, name, hint, scopes, application_id, created_at, created_by_kind, created_by_id, expires_at,
    generation, rotated_at, previous_hint, overlap_ends_at, new_secret_used_at, revoked_at, revoked_reason,
    designation
from tokens
where id = any ($1::text[])
