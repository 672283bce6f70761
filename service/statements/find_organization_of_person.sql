-- Find of which organization somebody is a member. $1 member. One row or none: organization.
select w.organization from passwords w where w.member_id = $1
