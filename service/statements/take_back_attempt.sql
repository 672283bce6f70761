-- Take back one try to sign in of those counted against a key. $1 key, $2 the time in which one try is paid for. Rows: none.
update sign_in_attempts set due_at = due_at - $2::interval where key = $1
