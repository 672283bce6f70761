-- Write the rows of tokens that no event speaks of, to be paged through. $1 organization, $2 how many.
insert into tokens (
    id, organization, kind, name, hint, scopes, created_at, created_by_kind, created_by_id, expires_at, generation)
select 'tok_' || lpad(to_hex(n), 26, '0'), $1, 'API_TOKEN', 'Service ' || md5(n::text), 'entri_aB3d…x9Zk',
    '{projects:read}', timestamptz '2025-01-01Z' + n * interval '1 second', 'MEMBER', 'mem_01jd0000000000000000000000',
    case when n % 3 = 0 then timestamptz '2035-01-01Z' + (n * 7919 % 31536000) * interval '1 second' end, 0
from generate_series(1, $2::bigint) n
