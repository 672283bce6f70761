-- The guard of people asks nothing where no person acts: it is called for every batch, most of which are of tokens.

create or replace function people_refused(actors text[]) returns text[]
language plpgsql stable as $$
begin
    if array_to_string(actors, ' ') !~ '(^| )(ses|mem)_' then
        return '{}';
    end if;
    return array(
        select a.id
        from unnest(actors) a (id)
        where (starts_with(a.id, 'ses_') and not exists (
            select from member_sessions s
            join passwords p on p.member_id = s.member_id and p.generation = s.generation
            join members m on m.id = s.member_id
            where s.id = split_part(a.id, ':', 1) and m.role = split_part(a.id, ':', 2) and m.removed_at is null
                and member_session_ends_at(s.started_at, s.last_seen_at) > clock_timestamp()
        ))
        or (starts_with(a.id, 'mem_') and not exists (
            select from passwords p
            join members m on m.id = p.member_id
            where p.member_id = split_part(a.id, ':', 1) and p.generation::text = split_part(a.id, ':', 2)
                and m.removed_at is null and (p.expires_at is null or p.expires_at > clock_timestamp())
        ))
    );
end
$$;
