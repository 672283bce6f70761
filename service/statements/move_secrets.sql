-- Write the rows of secrets anew, under another pepper, where they still are as they were proved. $1 the rows as they are to
-- be, $2 and $3 the first bytes of the digest and the pepper of each as it was. Rows: one, of how many were written.
with moved as (
    update vault_secrets v set digest_prefix = n.digest_prefix, pepper_id = n.pepper_id, verifier = n.verifier
    from rows from (unnest($1::vault_secrets[]), unnest($2::bytea[]), unnest($3::text[]))
        n (token_id, generation, organization, digest_prefix, pepper_id, verifier, old_prefix, old_pepper)
    where v.token_id = n.token_id and v.generation = n.generation and v.organization = n.organization
        and v.digest_prefix = n.old_prefix and v.pepper_id = n.old_pepper
    returning 1
)
select count(*) from moved
