-- Take the lease under which the trees grow: the operator's row, until the transaction ends.
-- One row: size; none while another process has it.
select size from trees where tree = '' for update skip locked
