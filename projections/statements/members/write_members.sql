-- Insert or update members outside an append: in a rebuild. $1 a JSON array of rows.
select write_members($1::text::json)
