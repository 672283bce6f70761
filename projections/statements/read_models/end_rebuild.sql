-- End a rebuild, finished or not, and let others rebuild. $1 name of the read model.
select end_rebuild($1)
