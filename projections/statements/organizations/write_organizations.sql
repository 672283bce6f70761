-- Insert or update organizations outside an append: in a rebuild. $1 a JSON array of rows.
select write_organizations($1::text::json)
