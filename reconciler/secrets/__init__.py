"""Where secrets go. Nothing else of the program holds one for longer than the call that brought it."""

from reconciler.secrets.sinks import SinkSet, known_files

__all__ = ["SinkSet", "known_files"]
