-- Find those who are members of an organization now. $1 organization, $2 ids.
-- Rows: id, role, created_at, email, name, last_signed_in_at (null: never, or not known yet).
select m.id, m.role, m.created_at, p.email, p.name, s.last_signed_in_at
from members m
join people p on p.member_id = m.id and p.organization = m.organization
left join member_sign_ins s on s.member_id = m.id
where m.organization = $1 and m.id = any ($2::text[]) and m.removed_at is null
