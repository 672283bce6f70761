-- Take the lease on a read model that is behind: its row, until the transaction ends. $1 name.
-- One row: position, head; none when it is at the head or another worker has the lease.
select r.position, h.position as head
from read_models r, log_head h
where r.name = $1 and r.position < h.position
for update of r skip locked
