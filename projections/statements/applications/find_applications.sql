-- Find the rows of applications of any organization. $1 ids. Rows: the columns of applications.
select id, organization, name, environment, secret_policy, created_at, deleted_at
from applications
where id = any ($1::text[])
