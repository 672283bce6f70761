-- Begin another generation. $1 the current one, $2 the next, $3 size and $4 root of the last checkpoint known before it.
-- One row: begun, false where another process was first.
select begin_generation($1, $2, $3, $4) as begun
