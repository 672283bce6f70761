-- Put a rebuilt table behind the view. $1 name of the read model, $2 the table, $3 the position it holds.
select switch_read_model($1, $2, $3)
