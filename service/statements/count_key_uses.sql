-- Count what still matters under each key. Rows: kind, key_id, what, uses.
select kind, key_id, what, uses from key_uses() order by kind, key_id, what
