"""The schema of the stack file, `reconciler.yaml`.

The file is checked as it is written, before expressions are evaluated. Sections accept null, because
a key without a value is null in YAML.
"""

from __future__ import annotations

from typing import Any

from reconciler.manifests.configuration import Refresh
from reconciler.manifests.shared_state import (
    HOW_TO_SET,
    RECIPIENT_MESSAGE,
    RECIPIENT_PATTERN,
    REMOTE,
)
from reconciler.manifests.type_schema import DIALECT, MAX_NAME, NAME_SCHEMA, described

MAX_STACK_NAME = 64
VARIABLE_PATTERN = "^[A-Za-z_][A-Za-z0-9_-]*$"
TYPES = ("string", "number", "boolean", "list", "map")

_CREDENTIAL = {
    "type": ["string", "null"],
    "examples": ["${env.OPENAI_ADMIN_KEY}", "${file:secrets/deployer.key}"],
}
_PROJECT_CREDENTIAL = {
    "type": ["string", "object", "null"],
    "examples": [*_CREDENTIAL["examples"], {"from_sink": "ServiceAccount/search/deployer"}],
    "properties": {
        "from_sink": {
            **described("The address of the resource that delivers the key to a sink."),
            "type": "string",
        }
    },
    "required": ["from_sink"],
    "additionalProperties": False,
}


def stack_schema() -> dict[str, Any]:
    """The schema of a stack document."""
    properties = _shared_properties()
    properties["variables"] = variables_schema()
    properties["env"] = {
        **described(
            "Restricts `${env.NAME}` to these variables, out of those that --allow-env permits."
        ),
        "type": ["array", "null"],
        "items": {"type": "string", "pattern": VARIABLE_PATTERN},
    }
    properties["environments"] = {
        **described("Settings per environment; select one with `-e NAME`."),
        "type": ["object", "null"],
        "propertyNames": {**NAME_SCHEMA, "maxLength": MAX_STACK_NAME},
        "additionalProperties": _environment(),
    }
    properties["pace"] = _pace()
    properties["outputs"] = {
        **described(
            "Values to publish: expressions such as `${Assistant/search/support-bot}` give ids."
        ),
        "type": ["object", "null"],
    }
    return {
        "$schema": DIALECT,
        "title": "Stack",
        "description": "A stack: the location of its manifests, and its settings.",
        "type": "object",
        "properties": {
            "apiVersion": {
                "const": "reconciler/v1",
                "description": "The version of this format. Optional.",
            },
            "kind": {"const": "Stack", "description": "Always Stack."},
            "metadata": _metadata(),
            "spec": {
                "type": ["object", "null"],
                "properties": properties,
                "additionalProperties": False,
            },
        },
        "required": ["kind"],
        "additionalProperties": False,
    }


def _metadata() -> dict[str, Any]:
    name = (
        "The name of the stack, part of every ownership mark. Defaults to the name of the folder."
    )
    return {
        "type": ["object", "null"],
        "properties": {"name": {**described(name), **NAME_SCHEMA, "maxLength": MAX_STACK_NAME}},
        "additionalProperties": False,
    }


def _shared_properties() -> dict[str, Any]:
    """The settings that an environment can override."""
    return {
        "manifests": {
            **described(
                "Files, folders or globs of manifests in the stack's folder. Defaults to the whole folder."
            ),
            "type": ["array", "null"],
            "items": {"type": "string", "minLength": 1},
            "examples": [["manifests/"]],
        },
        "projects": {
            **described("Existing projects that this stack does not manage, as name: id."),
            "type": ["object", "null"],
            "propertyNames": {**NAME_SCHEMA, "maxLength": MAX_NAME},
            "additionalProperties": {"type": "string", "minLength": 1},
            "examples": [{"legacy": "proj_abc123"}],
        },
        "organization": {
            **described(
                "The id of the organization that keys must belong to; keys of another organization are refused."
            ),
            "type": ["string", "null"],
            "minLength": 1,
            "examples": ["org-abc123"],
        },
        "credentials": _credentials(),
        "backend": _backend(),
        "encryption": _encryption(),
        "guards": _guards(),
        "ignore": _ignore(),
        "allow_delete": {
            **described(
                "Addresses and patterns that the guards let a plan delete, such as `VectorStore/search/*`. "
                "A change that deletes can carry its own permission; remove the entry afterwards."
            ),
            "type": ["array", "null"],
            "items": {"type": "string", "minLength": 1},
            "examples": [["VectorStore/search/old-handbook"]],
        },
        "refresh": _refresh(),
        "strict": {
            **described("The default of `lifecycle.strict` for all resources."),
            "type": "boolean",
            "default": False,
        },
    }


def _environment() -> dict[str, Any]:
    properties = _shared_properties()
    properties["variables"] = {
        **described("Values of variables in this environment."),
        "type": ["object", "null"],
    }
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def variables_schema() -> dict[str, Any]:
    """The declarations of variables, in a stack or a module."""
    declaration = {
        "type": "object",
        "properties": {
            "default": {"description": "The default value; without it, the variable is required."},
            "description": {"type": "string", "description": "A description of the variable."},
            "type": {"enum": list(TYPES), "description": "The type that values must have."},
        },
        "additionalProperties": False,
    }
    declares = [{"required": [name]} for name in ("default", "description", "type")]
    return {
        **described("Values for `${var.NAME}`: a default, or `{default, description, type}`."),
        "type": ["object", "null"],
        "propertyNames": {
            "pattern": VARIABLE_PATTERN,
            "patternErrorMessage": "Variable names consist of letters, digits, '_' and '-', and do not start with a "
            "digit.",
        },
        # A map with any of these keys is a declaration, and every other value is a default.
        "additionalProperties": {"if": {"type": "object", "anyOf": declares}, "then": declaration},
    }


def _credentials() -> dict[str, Any]:
    return {
        **described("The sources of keys: `${env.NAME}` or `${file:PATH}`, never a literal key."),
        "type": ["object", "null"],
        "properties": {
            "admin": {
                **described("The organization's admin key. Defaults to `OPENAI_ADMIN_KEY`."),
                **_CREDENTIAL,
            },
            "default": {
                **described(
                    "The key for resources without a project. Defaults to `OPENAI_API_KEY`."
                ),
                **_CREDENTIAL,
            },
            "projects": {
                **described(
                    "Keys of projects, by project name. `{from_sink: ADDRESS}` reads a key back "
                    "from where a resource of this stack delivers it."
                ),
                "type": ["object", "null"],
                "propertyNames": NAME_SCHEMA,
                "additionalProperties": _PROJECT_CREDENTIAL,
            },
        },
        "additionalProperties": False,
    }


def _backend() -> dict[str, Any]:
    local = {
        **described("State in a folder on this machine."),
        "type": ["object", "null"],
        "properties": {
            "path": {
                **described(
                    "The folder, in the stack's folder; a folder elsewhere must come from an environment variable."
                ),
                "type": "string",
                "minLength": 1,
                "default": ".reconciler",
            }
        },
        "additionalProperties": False,
    }
    return {
        **described(
            "Where to store the state: `remote`, or `{local: {path: FOLDER}}`. The address of a remote backend comes "
            "from RECONCILER_BACKEND or --backend only."
        ),
        # An address is refused by its pattern, with a message that names its proper place.
        "type": ["object", "string", "null"],
        "pattern": f"^{REMOTE}$",
        "patternErrorMessage": HOW_TO_SET,
        "properties": {"local": local},
        "additionalProperties": False,
        "examples": [REMOTE],
        "$comment": HOW_TO_SET,
    }


def _encryption() -> dict[str, Any]:
    recipient = {
        **described("An age recipient, or a public SSH key."),
        "type": "string",
        "pattern": RECIPIENT_PATTERN,
        "patternErrorMessage": RECIPIENT_MESSAGE,
    }
    recipients = {
        **described("Who can decrypt the state. RECONCILER_AGE_IDENTITY names the identity file."),
        "type": "array",
        "minItems": 1,
        "items": recipient,
        "examples": [["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]],
    }
    return {
        **described("Encrypts the state, its exports and saved plans."),
        "type": ["object", "null"],
        "properties": {
            "age": {
                **described("Encryption with age."),
                "type": "object",
                "properties": {"recipients": recipients},
                "required": ["recipients"],
                "additionalProperties": False,
            }
        },
        "additionalProperties": False,
    }


def _guards() -> dict[str, Any]:
    return {
        **described("Limits on how much one plan may delete."),
        "type": ["object", "null"],
        "properties": {
            "max_delete_percent": {
                **described("The maximum share of managed objects, in percent."),
                "type": "integer",
                "minimum": 0,
                "maximum": 100,
                "default": 30,
            },
            "max_deletes": {
                **described("The maximum number of objects."),
                "type": "integer",
                "minimum": 0,
                "default": 10,
            },
            "max_vanished_percent": {
                **described(
                    "The maximum share of recorded objects, in percent, that may be missing at once."
                ),
                "type": "integer",
                "minimum": 0,
                "maximum": 100,
                "default": 30,
            },
        },
        "additionalProperties": False,
    }


def _ignore() -> dict[str, Any]:
    return {
        **described(
            "Unmanaged objects that no report mentions: kinds, names, ids, or addresses such as `KIND/NAME` and "
            "`KIND/PROJECT/NAME`. `*` and `?` are wildcards."
        ),
        "type": ["array", "null"],
        "items": {"type": "string", "minLength": 1},
        "examples": [["Project/Default project", "File/*"]],
    }


def _refresh() -> dict[str, Any]:
    defaults = Refresh()
    return {
        **described("When to read scopes even though the audit log shows no change."),
        "type": ["object", "null"],
        "properties": {
            "full_every_hours": {
                **described(
                    "Read everything after this many hours, at most a year; 0 means always."
                ),
                "type": "number",
                "minimum": 0,
                "maximum": 8760,
                "default": defaults.full_every_hours,
            },
            "full_every_runs": {
                **described("Read everything after this many applies; 0 means always."),
                "type": "integer",
                "minimum": 0,
                "maximum": 100_000,
                "default": defaults.full_every_runs,
            },
            "overlap_minutes": {
                **described(
                    "How late entries may appear in the audit log, in minutes; at most a day."
                ),
                "type": "number",
                "minimum": 1,
                "maximum": 1440,
                "default": defaults.overlap_minutes,
            },
        },
        "additionalProperties": False,
    }


def _pace() -> dict[str, Any]:
    return {
        **described("Request rate limits."),
        "type": ["object", "null"],
        "properties": {
            "admin_requests_per_minute": {
                **described(
                    "Calls per minute to each admin endpoint, from 0.01 to 100000; auto adapts to the server."
                ),
                "type": ["number", "string"],
                "minimum": 0.01,
                "maximum": 100_000,
                "pattern": "^auto$",
                "patternErrorMessage": "Expected a number, or the word auto.",
                "default": "auto",
            }
        },
        "additionalProperties": False,
    }
