-- Read how tokens were used up to the end of the archive. $1 from this organization and $2 token on, $3 to this organization
-- and $4 token, all included. Rows: the columns of token_last_used.
select r.*
from archived_states a
cross join lateral jsonb_populate_record(null::token_last_used, a.state) r
where a.read_model = 'token_last_used' and (a.organization, a.key) >= ($1, $2) and (a.organization, a.key) <= ($3, $4)
