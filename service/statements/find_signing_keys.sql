-- Which key signed the newest checkpoint of the whole log in this generation. Rows, one or none: key_id.
select c.key_id
from checkpoints c join installation i on i.generation = c.generation
where c.tree = ''
order by c.size desc, c.signed_at desc
limit 1
