-- Count an organization's applications. $1 organization. One row: count.
select count(*) from applications where organization = $1 and deleted_at is null
