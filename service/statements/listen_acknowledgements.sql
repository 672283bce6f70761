-- Listen for nodes that acknowledge changes.
listen auth_ack
