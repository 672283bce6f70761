-- Take a process out of those that hold keys. $1 process.
delete from key_holders where holder = $1
