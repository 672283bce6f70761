-- Move a checkpoint, if nobody else has. $1 name, $2 the position it had, $3 its new one. One row when it moved: position.
update read_models set position = $3, updated_at = clock_timestamp()
where name = $1 and position = $2
returning position
