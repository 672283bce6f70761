-- How far the read models are. Rows: name, position, head (of the log).
select r.name, coalesce(r.position, h.position) as position, h.position as head
from read_models r, log_head h
