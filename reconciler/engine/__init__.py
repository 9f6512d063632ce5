"""Turns three states into a plan, and a plan into outcomes. Reads kinds only as declarations."""
