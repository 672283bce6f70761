-- Note how far a rebuild has followed the log. $1 name of the read model, $2 position, $3 events folded.
update rebuilds set position = $2, events = $3, updated_at = clock_timestamp() where name = $1
