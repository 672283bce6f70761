-- List the keys on record, as they came. Rows: kind, key_id, is_permitted, is_superseded.
select kind, key_id, permitted_at is not null as is_permitted, superseded_at is not null as is_superseded
from vault_keys
order by kind desc, registered_at, key_id
