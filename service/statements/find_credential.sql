-- Find the secret behind a digest, and its token as it stands now.
-- $1 first 16 bytes of the digest under each readable pepper. Rows: the secret's columns, the token's, is_expired.
select v.digest_prefix, v.pepper_id, v.verifier, v.generation as secret_generation,
    t.id, t.organization, t.kind, t.name, t.hint, t.scopes, t.application_id, t.expires_at, t.generation,
    t.previous_hint, t.overlap_ends_at, t.new_secret_used_at, t.revoked_at,
    coalesce(t.expires_at <= clock_timestamp(), false) as is_expired,
    coalesce(t.overlap_ends_at > clock_timestamp(), false) as has_overlap
from vault_secrets v
join tokens t on t.id = v.token_id
where v.digest_prefix = any ($1::bytea[])
