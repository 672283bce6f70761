-- Index the table that a rebuild has filled. $1 name of the read model, $2 the table.
select index_rebuilt($1, $2)
