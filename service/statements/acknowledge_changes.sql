-- Tell those who wait how far a node has got. $1 its incarnation and the position, with a colon between them.
select pg_notify('auth_ack', $1)
