-- Insert or update applications outside an append: in a rebuild. $1 a JSON array of rows.
select write_applications($1::text::json)
