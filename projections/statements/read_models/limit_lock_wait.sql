-- Rather give up than make everybody wait behind us for a lock, until the transaction ends.
set local lock_timeout = '5s'
