"""Validation imports no code that only a delivery needs."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from reconciler.model.sinks import sink_classes
names = [sink.name for sink in sink_classes()]
heavy = {"httpx", "boto3", "botocore", "google", "nacl", "cryptography"} & set(sys.modules)
print(len(names) > 5, sorted(heavy))
"""


def test_the_shapes_of_sinks_are_known_without_loading_libraries() -> None:
    told = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "True []"
