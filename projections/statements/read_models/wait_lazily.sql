-- Do not wait for the disk until the transaction ends: after a crash the last steps may have to be done again.
set local synchronous_commit = off
