-- Find when members signed in. $1 member ids. Rows: the columns of member_sign_ins.
select member_id, organization, last_signed_in_at
from member_sign_ins
where member_id = any ($1::text[])
