-- Find those of some applications that an organization has. $1 organization, $2 ids. Rows: the columns of applications.
select id, organization, name, environment, secret_policy, created_at, deleted_at
from applications
where organization = $1 and id = any ($2::text[]) and deleted_at is null
