-- Which key signed the newest checkpoint of the whole log. Rows, one or none: key_id.
select key_id from checkpoints where tree = '' order by generation desc, size desc, signed_at desc limit 1
