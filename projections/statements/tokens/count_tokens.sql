-- Count an organization's tokens.
-- $1 organization; filters, null for none: $2 kinds, $3 statuses, $4 pattern that name or hint is like, $5 application,
-- $6 scopes, $7 created from, $8 before, $9 expires from, $10 before, $11 last used from, $12 before, $13 whether never used;
-- $14 tokens that are being revoked.
-- One row: count.
select count(*)
from tokens t
left join token_last_used u on u.token_id = t.id
where t.organization = $1
  and case when ($2::text[] is null or t.kind = any ($2))
    and ($3::text[] is null or case when t.revoked_at is not null and t.id = any ($14) then 'REVOKING' when t.revoked_at is not null then 'REVOKED' when t.expires_at <= now() then 'EXPIRED' else 'ACTIVE' end = any ($3))
    and ($4::text is null or t.name ilike $4 or t.hint ilike $4)
    and ($5::text is null or t.application_id = $5)
    and ($6::text[] is null or t.scopes @> $6)
    and ($7::timestamptz is null or t.created_at >= $7)
    and ($8::timestamptz is null or t.created_at < $8)
    and ($9::timestamptz is null or t.expires_at >= $9)
    and ($10::timestamptz is null or t.expires_at < $10)
    then true end
  and case when ($11::timestamptz is null or u.last_used_at >= $11)
    and ($12::timestamptz is null or u.last_used_at < $12)
    and ($13::boolean is null or (u.last_used_at is null) = $13)
    then true end
