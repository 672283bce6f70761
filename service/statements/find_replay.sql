-- Find what an idempotency key led to. $1 event id derived from it, $2 that of the event behind it, if there was one.
-- One row or none; organization_position: of the last of them; is_fresh: under 24 hours old.
select r.organization, r.token_id, r.fingerprint, r.key_id, r.nonce, r.ciphertext,
    coalesce(second.organization_position, first.organization_position) as organization_position,
    r.created_at > clock_timestamp() - interval '24 hours' as is_fresh
from replays r
join event_index first on first.event_id = r.event_id
left join event_index second on second.event_id = $2
where r.event_id = $1
