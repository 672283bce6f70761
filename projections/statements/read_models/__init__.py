"""The statements of the read model tokens."""
