"""The schema of `module.yaml`, which declares the variables and outputs of a module."""

from __future__ import annotations

from typing import Any

from reconciler.manifests.kind_schema import API_VERSION
from reconciler.manifests.stack_schema import variables_schema
from reconciler.manifests.type_schema import DIALECT, described


def module_schema() -> dict[str, Any]:
    """The schema of the file, as it is written."""
    return {
        "$schema": DIALECT,
        "title": "Module definition",
        "description": "A module: the variables that its manifests use, and its outputs.",
        "type": "object",
        "properties": {
            "apiVersion": {
                "const": API_VERSION,
                "description": "The version of this format. Optional.",
            },
            "description": {**described("What the module declares."), "type": "string"},
            "variables": variables_schema(),
            "outputs": {
                **described("Values that other manifests read with `${Module/NAME.OUTPUT}`."),
                "type": ["object", "null"],
            },
        },
        "additionalProperties": False,
    }
