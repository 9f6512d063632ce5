"""Examines everything that a run depends on, and suggests a remedy for each problem."""
