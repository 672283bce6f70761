-- Find a read model, or an unfinished rebuild of one, that has not folded a position yet. $1 position.
-- One row or none: name, position (its checkpoint, or from where the rebuild will follow the log), is_rebuild.
select name, position, false as is_rebuild from read_models where position < $1
union all
select name, greatest(until_position, position), true from rebuilds where greatest(until_position, position) < $1
limit 1
