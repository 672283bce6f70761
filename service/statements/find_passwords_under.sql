-- List members whose password is under a pepper. $1 pepper, $2 most rows. Rows: member_id.
select member_id from passwords where pepper_id = $1 order by member_id limit $2
