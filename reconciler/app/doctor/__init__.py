"""Examines everything that a run depends on, and says what to do about what is wrong."""
