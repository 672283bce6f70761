-- The parts of the archive, oldest first. Rows: from_position, to_position (excluded), events, last_recorded_at, file,
-- file_bytes, file_sha256, detached_table, archived_at, dropped_at.
select from_position, to_position, events, last_recorded_at, file, file_bytes, file_sha256, detached_table, archived_at, dropped_at
from archived_usage
order by from_position
