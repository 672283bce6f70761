-- Append a batch of commands.
-- $1…$4 of each command, $5…$15 of each event, $16…$17 of each companion: see append_events; arrays in text but for $15…$17. Answers one row of arrays.
select outcome, position, organization_position, version, recorded_at
from append_events(
    $1::text::text[], $2::text::text[], $3::text::integer[], $4::text::text[],
    $5::text::integer[], $6::text::text[], $7::text::boolean[], $8::text::text[], $9::text::integer[], $10::text::text[],
    $11::text::text[], $12::text::text[], $13::text::text[], $14::text::timestamptz[], $15::bytea[],
    $16::text[], $17::text[])
