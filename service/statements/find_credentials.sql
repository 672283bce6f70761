-- Find the secrets behind digests, their tokens as they stand now, and the epoch that this is as of. $1 first 16 bytes of
-- each digest. Rows: one each, of epoch, peppers (those that secrets may be under), asked, and where it is known the
-- secret's columns, the token's, the environment of its application, is_expired, has_overlap, and left_s: in how many
-- seconds the secret stops working by itself, null if never.
select e.n as epoch, e.peppers, a.prefix as asked, c.*
from (
    select n, array(select key_id from vault_keys where kind = 'pepper' and permitted_at is not null) as peppers
    from auth_epoch
) e
cross join unnest($1::bytea[]) a (prefix)
left join lateral (
    select v.pepper_id, v.verifier, v.generation as secret_generation,
        t.id, t.organization, t.kind, t.hint, t.scopes, t.application_id, t.expires_at, t.generation,
        t.previous_hint, t.overlap_ends_at, t.new_secret_used_at, t.revoked_at,
        (select p.environment from applications p where p.id = t.application_id and p.organization = t.organization) as environment,
        coalesce(t.expires_at <= clock_timestamp(), false) as is_expired,
        coalesce(t.overlap_ends_at > clock_timestamp(), false) as has_overlap,
        extract(epoch from least(t.expires_at, case when v.generation < t.generation then t.overlap_ends_at end)
            - clock_timestamp())::float8 as left_s
    from vault_secrets v
    join tokens t on t.id = v.token_id
    where v.digest_prefix = a.prefix
) c on true
