-- The last position of an organization's history whose usage was archived, 0 when none was. $1 organization. One row: position.
select coalesce((
    select last_position from archived_organizations where organization = $1 order by from_position desc limit 1), 0) as position
