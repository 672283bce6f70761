-- List tokens with a secret under a pepper that works, each once. $1 pepper, $2 token to begin after, $3 most rows.
-- Rows: organization, token_id, kind, is_newest: it is the newest secret, not one that overlaps it.
select t.organization, t.id as token_id, t.kind, bool_or(v.generation = t.generation) as is_newest
from vault_secrets v join tokens t on t.id = v.token_id
where v.pepper_id = $1 and v.token_id > $2
    and secret_may_work(v.generation, t.generation, t.revoked_at, t.expires_at, t.overlap_ends_at)
group by t.organization, t.id, t.kind
order by t.id limit $3
