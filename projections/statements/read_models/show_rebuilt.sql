-- Put a rebuild's table before the live one for this connection. $1 name of the read model, $2 the table.
select show_rebuilt($1, $2)
