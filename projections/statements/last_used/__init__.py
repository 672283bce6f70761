"""The statements of the read model last_used."""
