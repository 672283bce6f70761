-- A page of an organization's tokens by last use, never being the earliest, earliest first.
-- $1 organization, $2 and $3 after this instant (null: never) and id (both null: from the start), $4 rows at most, up to 101;
-- filters, null for none: $5 kinds, $6 statuses, $7 pattern that name or hint is like, $8 application,
-- $9 scopes, $10 created from, $11 before, $12 expires from, $13 before, $14 last used from, $15 before, $16 whether never used;
-- $17 tokens that are being revoked.
-- Rows: the columns of tokens, then use_count … previous_last_used_at of token_last_used (null: nothing is known yet).
-- That the filters stand in `case` and the inner limit is a constant makes walking the index from the cursor on the
-- cheapest plan, whatever is known of the values.
select *
from (
    select u.token_id as id, u.organization, t.kind, t.name, t.hint, t.scopes, t.application_id, t.created_at, t.created_by_kind, t.created_by_id,
        t.expires_at, t.generation, t.rotated_at, t.previous_hint, t.overlap_ends_at, t.new_secret_used_at, t.revoked_at,
        t.revoked_reason, t.designation, u.use_count, u.last_used_at, u.newest_generation, u.newest_last_used_at, u.previous_last_used_at,
        coalesce(u.last_used_at, '-infinity') as sort_value
    from token_last_used u
    join tokens t on t.id = u.token_id
    where u.organization = $1 and (coalesce(u.last_used_at, '-infinity'), u.token_id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::text, ''))
      and case when ($5::text[] is null or t.kind = any ($5))
        and ($6::text[] is null or case when t.revoked_at is not null and t.id = any ($17) then 'REVOKING' when t.revoked_at is not null then 'REVOKED' when t.expires_at <= now() then 'EXPIRED' else 'ACTIVE' end = any ($6))
        and ($7::text is null or t.name ilike $7 or t.hint ilike $7)
        and ($8::text is null or t.application_id = $8)
        and ($9::text[] is null or t.scopes @> $9)
        and ($10::timestamptz is null or t.created_at >= $10)
        and ($11::timestamptz is null or t.created_at < $11)
        and ($12::timestamptz is null or t.expires_at >= $12)
        and ($13::timestamptz is null or t.expires_at < $13)
        then true end
      and case when ($14::timestamptz is null or u.last_used_at >= $14)
        and ($15::timestamptz is null or u.last_used_at < $15)
        and ($16::boolean is null or (u.last_used_at is null) = $16)
        then true end
    order by coalesce(u.last_used_at, '-infinity'), u.token_id
    limit 101
) page
order by sort_value, id
limit $4
