"""The nouns: pure data that every other layer speaks. Nothing here reads a file, a socket or a clock."""
