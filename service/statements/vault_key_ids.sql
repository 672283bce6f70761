-- Name the keys of a kind that are on record, and say which of those that are not loaded are needed: not those that were found
-- to be superseded and needless before. $1 kind, $2 ids of the loaded keys, or null to ask for no need.
-- Rows: key_id, is_needed.
select key_id, case
    when $2::text[] is null or key_id = any ($2) or (superseded_at is not null and permitted_at is null) then false
    else key_is_needed(kind, key_id)
    end as is_needed
from vault_keys
where kind = $1
order by key_id
