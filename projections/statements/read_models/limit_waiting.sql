-- Bound for how long others can wait for this transaction: by a lock that it waits for, a statement that runs, a client
-- that has stopped. $1 milliseconds for a lock, $2 for each of the others.
select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true),
    set_config('idle_in_transaction_session_timeout', $2, true)
