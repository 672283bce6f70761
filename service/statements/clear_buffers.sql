-- Unmark organizations of which a process holds no uses any more. $1 process, $2 organizations. Rows: none.
delete from usage_buffers where process = $1 and organization = any ($2::text[])
