"""Destinations of keys. No other part of the program keeps a key longer than the call that returned
it."""

from reconciler.secrets.sinks import SinkSet, known_files

__all__ = ["SinkSet", "known_files"]
