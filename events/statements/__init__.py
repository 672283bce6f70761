"""The statements of the log, one a file."""
