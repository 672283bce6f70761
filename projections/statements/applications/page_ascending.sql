-- A page of an organization's applications, oldest first. $1 organization, $2 and $3 after this instant and id (both null:
-- from the start), $4 rows at most. Rows: the columns of applications.
select id, organization, name, environment, secret_policy, created_at, deleted_at
from applications
where organization = $1 and deleted_at is null
    and (created_at, id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::text, ''))
order by created_at, id
limit $4
