-- Find the token of an organization that was the last to be chosen to sign its webhooks. $1 organization. One row or none:
-- the columns of tokens.
select id, organization, kind, name, hint, scopes, application_id, created_at, created_by_kind, created_by_id, expires_at,
    generation, rotated_at, previous_hint, overlap_ends_at, new_secret_used_at, revoked_at, revoked_reason, designation
from tokens
where organization = $1 and designation is not null
order by designation desc
limit 1
