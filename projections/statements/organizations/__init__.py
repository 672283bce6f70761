"""The statements of the read model organizations."""
