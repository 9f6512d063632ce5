"""States behind every storage, for tests that hold for all of them."""
