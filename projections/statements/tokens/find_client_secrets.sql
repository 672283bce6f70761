-- Find the client secrets of applications of an organization. $1 organization, $2 applications. Rows: application_id, id.
select application_id, id from tokens where organization = $1 and application_id = any ($2::text[])
