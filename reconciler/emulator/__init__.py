"""A local server that behaves as the OpenAI API does, for tests, demonstrations and rehearsals without a key.

It keeps state, answers in the shapes that the live API was recorded to answer, and on request is slow, throttled,
flaky or eventually consistent. It imports nothing from the rest of `reconciler`: it is the second opinion, so it must
not share our mistakes.

    with Emulator() as emulator:
        client = openai.OpenAI(base_url=emulator.base_url, api_key=emulator.api_key)
"""

from __future__ import annotations

from reconciler.emulator.faults import FAULT_HELP, Fault
from reconciler.emulator.journal import DataFileError
from reconciler.emulator.options import Options
from reconciler.emulator.server import Emulator, create_app, serve

__all__ = ["FAULT_HELP", "DataFileError", "Emulator", "Fault", "Options", "create_app", "serve"]
