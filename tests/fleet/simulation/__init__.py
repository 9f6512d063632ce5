"""Fleets at a clock that is only a number: what an organization's pace allows, to 10,000 stacks.

What decides is the program's own: the estimate of calls (`engine/refresh/estimate.py`) says what a
plan of a stack reads, the throttle (`api/transport/throttle.py`) when each call goes, the retry
policy what a refusal costs, and the emulator's limit what the API refuses. Simulated are the clock,
the threads that wait, the answers' contents, and who changes what when.
"""
