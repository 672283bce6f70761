-- Find organizations. $1 ids. Rows: id, name, created_at.
select id, name, created_at
from organizations
where id = any ($1::text[])
