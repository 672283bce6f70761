-- Find how members are called and reached. $1 organization, $2 members. Rows: member_id, email, name.
select p.member_id, p.email, p.name from people p where p.member_id = any ($2::text[]) and p.organization = $1
