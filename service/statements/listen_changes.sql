-- Listen for changes to what nodes remember.
listen auth_inv
