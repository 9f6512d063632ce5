"""Metrics, traces and notices about runs, for whoever watches a fleet."""
