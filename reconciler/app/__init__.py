"""The functions with which a program plans and applies. The command line calls the same ones.

Nothing here knows click or prints. Callers pass in what has to reach a person: notices as a
function of one text, progress as a `RunListener`, and a `threading.Event` that stops a run early.
"""
