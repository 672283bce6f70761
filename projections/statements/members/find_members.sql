-- Find the rows of members of any organization. $1 ids. Rows: the columns of members.
select id, organization, role, created_at, created_by_kind, created_by_id, removed_at
from members
where id = any ($1::text[])
