-- Count those who are members of an organization now. $1 organization. One row: how many.
select count(*) from members m where m.organization = $1 and m.removed_at is null
