"""Pure data that all layers share. Nothing here reads a file, a socket or a clock."""
