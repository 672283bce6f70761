-- Find whose address this is, and what the password is verified with. $1 address as it is compared, $2 organization, null
-- for any. Rows, at most two: member_id, organization, role, generation, verifier, pepper_id, must_change, expires_at, is_expired.
select p.member_id, p.organization, m.role, w.generation, w.verifier, w.pepper_id, w.must_change, w.expires_at,
    coalesce(w.expires_at <= clock_timestamp(), false) as is_expired
from people p
join passwords w on w.member_id = p.member_id and w.organization = p.organization
join members m on m.id = p.member_id and m.organization = p.organization and m.removed_at is null
where p.email_key = $1 and not p.is_removed and ($2::text is null or p.organization = $2)
limit 2
