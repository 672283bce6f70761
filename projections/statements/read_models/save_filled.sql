-- Note how far a rebuild has filled its table. $1 name of the read model, $2 organization and $3 subject it is past,
-- $4 events folded, $5 rows copied in.
update rebuilds
set after_organization = $2, after_subject = $3, events = $4, rows = $5, updated_at = clock_timestamp()
where name = $1
