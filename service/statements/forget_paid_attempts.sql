-- Forget tries to sign in that are paid for, but for those that somebody is counting just now. No parameters. Rows: none.
delete from sign_in_attempts a
where a.key in (select p.key from sign_in_attempts p where p.due_at < now() for update skip locked)
