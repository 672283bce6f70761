-- The place in the whole log of an organization's event; of one that was archived, the end of its part of the archive.
-- $1 organization, $2 organization position. One row or none: position.
select coalesce(
    (select position from events where organization = $1 and organization_position = $2),
    (select u.to_position - 1
     from archived_organizations o join archived_usage u on u.from_position = o.from_position
     where o.organization = $1 and o.last_position >= $2
     order by o.from_position limit 1)) as position
