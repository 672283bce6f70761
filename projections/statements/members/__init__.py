"""The statements of the read model members."""
