-- Name the registered keys that rows of the vault need. Rows: kind, key_id.
select kind, key_id
from vault_keys k
where case k.kind
    when 'pepper' then exists (select from vault_secrets v where v.pepper_id = k.key_id)
    else exists (select from replays r where r.key_id = k.key_id)
end
