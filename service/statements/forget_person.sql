-- Forget how a member who was removed was called and reached. $1 member. One row or none: member_id.
delete from people where member_id = $1 and is_removed returning member_id
