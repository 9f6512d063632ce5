"""Rehearsals: a plan is applied for real to a copy of the organization on a local emulator.

`reading` reads the live organization and makes a recording of it, `recording` is its file, `run`
loads the copy and applies the plan there, and `kills` interrupts that apply and resumes it.
"""
