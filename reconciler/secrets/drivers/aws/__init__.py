"""Sinks of Amazon Web Services: Secrets Manager and Parameter Store."""
