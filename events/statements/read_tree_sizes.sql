-- Read how large trees are. $1 their names. Rows: tree, size; a tree without leaves may have none.
select tree, size from trees where tree = any ($1::text[])
