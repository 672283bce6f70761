-- The last position of an organization's history, 0 when it has none. $1 organization. One row: position.
select coalesce((select position from organization_heads where organization = $1), 0) as position
