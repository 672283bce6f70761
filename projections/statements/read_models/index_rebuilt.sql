-- Make one index of a table that a rebuild has filled, or its statistics when it lacks none. $1 name of the read model,
-- $2 the table. One row: how many it lacked, and how many there are.
select lacked, all_indexes from index_rebuilt($1, $2)
