"""States in PostgreSQL: `storage` is the whole interface."""
