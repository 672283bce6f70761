-- Name the keys that the vault's rows need. Rows: what (pepper, kek), key_id.
select 'pepper' as what, pepper_id as key_id from vault_secrets group by pepper_id
union all
select 'kek', key_id from replays where key_id is not null group by key_id
