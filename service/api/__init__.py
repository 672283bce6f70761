"""The GraphQL API. Must never touch the database driver."""
