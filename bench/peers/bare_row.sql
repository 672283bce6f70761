-- Write one row as large as an entry, in one transaction of its own. $1 entry.
insert into bare (entry) values ($1)
