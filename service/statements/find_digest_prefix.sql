-- Find where a secret's row is looked up. $1 token, $2 generation. One row or none: digest_prefix.
select digest_prefix from vault_secrets where token_id = $1 and generation = $2
