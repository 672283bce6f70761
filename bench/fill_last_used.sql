-- Write how the tokens of fill_tokens were used, a quarter of them never. $1 organization, $2 how many.
insert into token_last_used (token_id, organization, use_count, last_used_at, newest_generation, newest_last_used_at)
select 'tok_' || lpad(to_hex(n), 26, '0'), $1, n % 4, at, 0, at
from generate_series(1, $2::bigint) n,
    lateral (select case when n % 4 > 0 then timestamptz '2026-01-01Z' + (n * 104729 % 15768000) * interval '1 second' end) used (at)
