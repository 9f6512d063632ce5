"""A local server that behaves like the OpenAI API, for tests, demos and rehearsals without a key.

It keeps state and answers in the recorded shapes of the live API; on request it is slow, throttled,
flaky or eventually consistent. It imports nothing from the rest of `reconciler`, so that it cannot
share its mistakes.

    with Emulator() as emulator:
        client = openai.OpenAI(base_url=emulator.base_url, api_key=emulator.api_key)
"""

from __future__ import annotations

from reconciler.emulator.faults import FAULT_HELP, Fault
from reconciler.emulator.journal import DataFileError
from reconciler.emulator.options import EmulatorOptions
from reconciler.emulator.server import Emulator, create_app, serve

__all__ = [
    "FAULT_HELP",
    "DataFileError",
    "Emulator",
    "EmulatorOptions",
    "Fault",
    "create_app",
    "serve",
]
