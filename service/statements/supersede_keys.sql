-- Have everything written under one key from now on, if every process can read it. $1 kind, $2 key id. Rows: one, whether.
with permitted as (
    select from vault_keys where kind = $1 and key_id = $2 and permitted_at is not null
), changed as (
    update vault_keys set superseded_at = case when key_id <> $2 then clock_timestamp() end
    where kind = $1 and (key_id <> $2) <> (superseded_at is not null) and exists (select from permitted)
)
select exists (select from permitted)
