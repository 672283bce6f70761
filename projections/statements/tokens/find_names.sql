-- Find the names of an organization's tokens. $1 organization, $2 ids. Rows: id, name.
select id, name
from tokens
where organization = $1 and id = any ($2::text[])
