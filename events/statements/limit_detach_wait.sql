-- Give up a lock that others hold quickly, since everybody waits behind us for it, until the transaction ends.
set local lock_timeout = '200ms'
