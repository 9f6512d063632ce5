"""What a program calls to plan and apply without the command line; the commands call the same.

Nothing here knows click or prints. Callers pass in what has to reach a person: notices as a
function of one text, progress as a `RunListener`, and a `threading.Event` that stops a run early.
"""
