-- Stop whoever follows the log for a read model until the transaction ends. $1 name. One row: position.
select position from read_models where name = $1 for update
