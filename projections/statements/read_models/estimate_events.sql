-- Estimate how many events may change a read model, as the planner sees it. $1 up to this position, $2 types it ignores,
-- $3 which partitions can hold the others (is_usage). Answers a plan in JSON.
explain (format json)
select from events where position <= $1 and type <> all ($2::text[]) and is_usage = any ($3::boolean[])
