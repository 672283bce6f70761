-- Keep how tokens were used up to the end of the archive. $1 a JSON array of rows, at most one a token.
insert into archived_states (read_model, organization, key, state)
select 'token_last_used', r ->> 'organization', r ->> 'token_id', r
from jsonb_array_elements($1::text::jsonb) r
on conflict (read_model, organization, key) do update set state = excluded.state
