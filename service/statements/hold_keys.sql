-- Note which keys a process can read and may write under. $1 process, $2 what it is called, $3 keys it can read, $4 keys it
-- may still write under, each with its kind. Rows: one, of lacking, permitted and superseded, arrays of such names.
select * from hold_keys($1, $2, $3, $4)
