-- Name the keys on record, and say which of them rows of the vault need. Rows: kind, key_id, is_needed.
select kind, key_id, case kind
    when 'pepper' then exists (select from vault_secrets v where v.pepper_id = k.key_id)
    else exists (select from replays r where r.key_id = k.key_id)
        or exists (select from vault_seals s where s.key_id = k.key_id)
    end as is_needed
from vault_keys k
