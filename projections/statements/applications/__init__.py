"""The statements of the read model applications."""
