-- List the processes that hold keys. Rows: name, readable, writes.
select name, readable, writes from key_holders
where seen_at >= clock_timestamp() - interval '10 seconds'
order by name
