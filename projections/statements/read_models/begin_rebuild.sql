-- Make the table that a rebuild fills, and note that. $1 name of the read model, $2 the program's definition of it,
-- $3 up to which position it is filled by subject, $4 how many events that takes, about. Answers the names of
-- the tables that were dropped for it (text[]).
select begin_rebuild($1, $2, $3, $4)
