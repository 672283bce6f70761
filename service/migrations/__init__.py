"""The migrations of the operational tables: never rebuilt."""
