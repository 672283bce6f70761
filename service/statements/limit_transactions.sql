-- Let the server end a transaction that takes too long, whatever holds it up. $1 milliseconds. One row: what was set.
select set_config('transaction_timeout', $1, false)
