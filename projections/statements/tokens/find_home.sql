-- Find where a token is decided on. $1 organization, $2 token. One row or none: kind, application_id.
select kind, application_id from tokens where organization = $1 and id = $2
