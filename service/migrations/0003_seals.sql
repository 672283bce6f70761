-- Seals: secrets that must be shown again, or that sign, encrypted under a key that lives outside the database. Written and
-- deleted in the transaction of the event they belong to.

create table vault_seals (
    token_id text collate "C" not null,
    generation integer not null,
    organization text collate "C" not null,
    key_id text collate "C" not null,
    nonce bytea not null,
    ciphertext bytea not null,
    primary key (token_id, generation)
);
comment on table vault_seals is 'One recoverable secret a row, sealed with AES-256-GCM under the key-encryption key key_id for this row alone; it goes when the secret ends';

-- The companions of an append: the seals of new secrets, and of which tokens seals are to go: those of the generations
-- below one, or all where none is given. They are called in the order of their names: what goes, goes before what is new.
create function write_vault_seals(rows json) returns void
language plpgsql set search_path from current as $$
begin
    insert into vault_seals select r.* from json_populate_recordset(null::vault_seals, rows) r;
end
$$;

create function drop_vault_seals(rows json) returns void
language plpgsql set search_path from current as $$
begin
    delete from vault_seals s using json_to_recordset(rows) d (token_id text, below integer)
    where s.token_id = d.token_id and (d.below is null or s.generation < d.below);
end
$$;
revoke execute on function write_vault_seals, drop_vault_seals from public;
select register_append_hook('companion', 'vault_seals', 'write_vault_seals');
select register_append_hook('companion', 'vault_drop_seals', 'drop_vault_seals');

grant select, update (key_id, nonce, ciphertext), delete on vault_seals to entri_service;
