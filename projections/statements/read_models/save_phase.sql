-- Note that a phase of a rebuild is done. $1 name of the read model, $2 the phase that follows.
update rebuilds set phase = $2, position = until_position, updated_at = clock_timestamp() where name = $1
