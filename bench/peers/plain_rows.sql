-- Write the rows of a token that is issued, in one transaction of its own, under no lock but those of its rows.
-- $1 organization, $2 occurred at, $3 type, $4 subject, $5 actor, $6 entry, $7 event id, $8 stream, $9 version;
-- $10…$26 the columns of tokens but id and organization; $27 the secret's digest prefix, $28 pepper id, $29 verifier.
-- Positions of the whole log come from a sequence, so unlike the log's own they have gaps and may commit out of order.
with head as (
    insert into organization_heads as h (organization, position) values ($1, 1)
    on conflict (organization) do update set position = h.position + 1
    returning position
), place as (
    select nextval('plain_position') as position, head.position as organization_position from head
), event as (
    insert into events (is_usage, position, organization, organization_position, recorded_at, occurred_at, type, subject, actor, entry)
    select false, p.position, $1, p.organization_position, clock_timestamp(), $2::timestamptz, $3::text, $4::text, $5::text, $6::bytea
    from place p
), index as (
    insert into event_index (event_id, position, organization_position, stream, version)
    select $7::text, p.position, p.organization_position, $8::text, $9::integer from place p
), token as (
    insert into tokens (
        id, organization, kind, name, hint, scopes, application_id, created_at, created_by_kind, created_by_id, expires_at,
        generation, rotated_at, previous_hint, overlap_ends_at, new_secret_used_at, revoked_at, revoked_reason,
        designation)
    values ($4, $1, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)
)
insert into vault_secrets (token_id, generation, organization, digest_prefix, pepper_id, verifier)
values ($4, $19, $1, $27, $28, $29)
