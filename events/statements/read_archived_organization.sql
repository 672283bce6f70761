-- What an organization has in each part of the archive, oldest first. $1 organization. Rows: file, from_position (of the
-- part), first_position and last_position (of the organization's history), events.
select u.file, o.from_position, o.first_position, o.last_position, o.events
from archived_organizations o
join archived_usage u on u.from_position = o.from_position
where o.organization = $1
order by o.from_position
