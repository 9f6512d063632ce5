"""Fleets: many stacks in one process, planned from one reading of each organization.

`stacks.py` finds the stacks, `stack_run.py` runs a command on one of them, and the runner runs it on
all. The Kubernetes operator uses the same parts.
"""
