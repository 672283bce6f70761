-- Drop what rebuilds of a read model left. $1 its name. Answers the names of the tables (text[]).
select drop_rebuild_leftovers($1)
