"""States in object stores: `storage` is the whole interface."""
