-- Insert or update tokens outside an append: in a rebuild. $1 a JSON array of rows.
select write_tokens($1::text::json)
