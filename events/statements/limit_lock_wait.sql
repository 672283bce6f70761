-- Give up a lock that others hold after some time, until the transaction ends. $1 how long.
select set_config('lock_timeout', $1, true)
