-- Find a read model that has not folded a position yet. $1 position. One row or none: name, position (its checkpoint).
select name, position from read_models where position < $1 order by position limit 1
