-- Forget which tables the names in this connection's statements led to: another one stands behind a name now.
discard plans
