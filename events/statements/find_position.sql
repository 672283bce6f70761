-- The place in the whole log of an organization's event. $1 organization, $2 organization position. One row or none: position.
select position from events where organization = $1 and organization_position = $2
