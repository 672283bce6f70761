-- Leave the registry: nobody waits for this node any more. $1 incarnation.
delete from auth_node where incarnation = $1
