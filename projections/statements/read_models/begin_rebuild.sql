-- Make the table that a rebuild fills. $1 name of the read model. Answers the table's name.
select begin_rebuild($1)
