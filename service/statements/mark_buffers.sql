-- Mark that a process holds uses of some organizations in memory. $1 process, $2 organizations. Rows: none.
insert into usage_buffers (process, organization, buffered_from, seen_at)
select $1, organization, clock_timestamp(), clock_timestamp() from unnest($2::text[]) as organization
on conflict (process, organization) do update set seen_at = excluded.seen_at
