-- Find the last restriction of each token, and who is in the registry, as of one instant. $1 tokens. Rows: one, of two
-- JSON arrays: changes {position, subject, fence or null}, nodes {incarnation, lease_ms, renewals, applied}.
select
    (
        select coalesce(jsonb_agg(l), '[]')::text
        from unnest($1::text[]) s (subject)
        cross join lateral (
            select c.position, c.subject, c.fence from revocation_log c
            where c.subject = s.subject and c.restricting order by c.position desc limit 1
        ) l
    ) as changes,
    (
        select coalesce(jsonb_agg(n), '[]')::text
        from (select incarnation, lease_ms, renewals, applied from auth_node) n
    ) as nodes
