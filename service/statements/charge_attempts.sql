-- Count a try to sign in against each of some keys, unless that has too many: the generic cell rate algorithm (ITU-T I.371).
-- $1 keys, $2 for each the time in which one try is paid for, $3 how much may be owed. Rows: key, is_refused, and due_s, in
-- how many seconds all that is owed will be paid for.
insert into sign_in_attempts as a (key, due_at, is_refused)
select k.key, now() + k.spacing, false
from unnest($1::bytea[], $2::interval[]) k (key, spacing)
order by k.key
on conflict (key) do update set
    due_at = case
        when greatest(a.due_at, now()) + (excluded.due_at - now()) > now() + $3::interval then a.due_at
        else greatest(a.due_at, now()) + (excluded.due_at - now())
    end,
    is_refused = greatest(a.due_at, now()) + (excluded.due_at - now()) > now() + $3::interval
returning a.key, a.is_refused, extract(epoch from a.due_at - now())::float8 as due_s
