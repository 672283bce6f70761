-- Find how tokens were used up to the end of the archive. $1 organizations and $2 their tokens, pairwise.
-- Rows: the columns of token_last_used.
select r.*
from unnest($1::text[], $2::text[]) k (organization, token_id)
join archived_states a on a.read_model = 'token_last_used' and a.organization = k.organization and a.key = k.token_id
cross join lateral jsonb_populate_record(null::token_last_used, a.state) r
