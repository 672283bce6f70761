-- Register a key before anything is written under it. $1 kind, $2 key id, $3 check value. One row: the check value on record.
with added as (
    insert into vault_keys (kind, key_id, check_value) values ($1, $2, $3)
    on conflict do nothing
    returning check_value
)
select check_value from added
union all
select check_value from vault_keys where kind = $1 and key_id = $2
limit 1
