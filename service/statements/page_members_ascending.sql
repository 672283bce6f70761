-- A page of those who are members of an organization now, oldest first.
-- $1 organization, $2 and $3 after this instant and id (both null: from the start), $4 rows at most.
-- Rows: id, role, created_at, email, name, last_signed_in_at (null: never, or not known yet).
select m.id, m.role, m.created_at, p.email, p.name, s.last_signed_in_at
from members m
join people p on p.member_id = m.id and p.organization = m.organization
left join member_sign_ins s on s.member_id = m.id
where m.organization = $1 and m.removed_at is null
  and (m.created_at, m.id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::text, ''))
order by m.created_at, m.id
limit $4
