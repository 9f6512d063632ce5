"""Drivers of sinks that are servers, a module each."""
