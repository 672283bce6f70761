-- Make up rows as a look-up of keys answers them. $1 how many. Rows: a digest, and the columns of find_credentials that an entry is made of.
select sha256(n::text::bytea) as digest,
    'tok_' || substr(encode(sha256(('t' || n)::bytea), 'hex'), 1, 26) as id,
    'org_' || substr(encode(sha256(('o' || n / 100)::bytea), 'hex'), 1, 26) as organization,
    'API_TOKEN' as kind, 'entri_' || substr(md5(n::text), 1, 4) || '…' || substr(md5(n::text), 5, 4) as hint,
    array['projects:read', 'projects:write', 'deployments:read'] as scopes, null::text as application_id,
    null::text as environment,
    case when n % 2 = 0 then now() + interval '90 days' end as expires_at, 0 as generation, 0 as secret_generation,
    null::text as previous_hint, null::timestamptz as overlap_ends_at, null::timestamptz as new_secret_used_at,
    null::timestamptz as revoked_at, false as is_expired, false as has_overlap,
    case when n % 2 = 0 then 7776000.0::float8 end as left_s
from generate_series(1, $1::integer) as n
