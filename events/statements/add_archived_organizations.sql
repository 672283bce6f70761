-- Record what organizations have in a part of the archive. $1 its first position; of each organization $2 its id, $3 the first
-- and $4 the last position of its history that is there, $5 how many events.
insert into archived_organizations (organization, from_position, first_position, last_position, events)
select organization, $1, first_position, last_position, events
from unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) o (organization, first_position, last_position, events)
