-- Find what an idempotency key led to. $1 event id derived from it. One row or none; is_fresh: under 24 hours old.
select r.organization, r.token_id, r.fingerprint, r.key_id, r.nonce, r.ciphertext, i.organization_position,
    r.created_at > clock_timestamp() - interval '24 hours' as is_fresh
from replays r
join event_index i on i.event_id = r.event_id
where r.event_id = $1
