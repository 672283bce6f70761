-- Find those of some tokens that a restriction is not known of to every process yet. $1 tokens. Rows: subject.
select distinct l.subject from revocation_log l where l.subject = any ($1::text[]) and l.restricting and l.fenced_at is null
