-- Find whose address this is in an organization. $1 organization, $2 address as it is compared. One row or none: member_id.
select p.member_id from people p where p.organization = $1 and p.email_key = $2 and not p.is_removed
