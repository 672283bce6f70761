-- Forget all tries to sign in that are counted against a key. $1 key. Rows: none.
delete from sign_in_attempts where key = $1
