"""The statements of the read models, one a file."""
