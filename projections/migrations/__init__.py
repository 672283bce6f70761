"""The migrations of the read models."""
