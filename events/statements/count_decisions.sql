-- How many decisions there are in a range of positions. $1 from, $2 to (excluded). One row: events.
select count(*) as events from events where not is_usage and position >= $1 and position < $2
