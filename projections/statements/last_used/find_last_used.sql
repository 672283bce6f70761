-- Find how tokens were used. $1 token ids. Rows: the columns of token_last_used.
select token_id, organization, use_count, last_used_at, newest_generation, newest_last_used_at, previous_last_used_at
from token_last_used
where token_id = any ($1::text[])
