"""The statements of the operational tables, one a file."""
