"""The schema of the stack file, `reconciler.yaml`. It is checked as written, so expressions stand where they may."""

from __future__ import annotations

from typing import Any

from reconciler.manifests.configuration import Refresh
from reconciler.manifests.type_schema import DIALECT, MAX_NAME, NAME_SCHEMA, described

MAX_STACK_NAME = 64
VARIABLE_PATTERN = "^[A-Za-z_][A-Za-z0-9_-]*$"
TYPES = ("string", "number", "boolean", "list", "map")

_CREDENTIAL = {
    "type": ["string", "null"],
    "examples": ["${env.OPENAI_ADMIN_KEY}", "${file:secrets/deployer.key}"],
}


def stack_schema() -> dict[str, Any]:
    """The schema of a stack document."""
    properties = _shared_properties()
    properties["variables"] = _variables()
    properties["env"] = {
        **described(
            "Narrows what `${env.NAME}` may read to these variables, of those that the caller allows with --allow-env."
        ),
        "type": ["array", "null"],
        "items": {"type": "string", "pattern": VARIABLE_PATTERN},
    }
    properties["environments"] = {
        **described("What differs between environments, chosen with `-e NAME`."),
        "type": ["object", "null"],
        "propertyNames": {**NAME_SCHEMA, "maxLength": MAX_STACK_NAME},
        "additionalProperties": _environment(),
    }
    properties["pace"] = _pace()
    properties["outputs"] = {
        **described("Values for applications: expressions such as `${Assistant/search/support-bot}` give ids."),
        "type": ["object", "null"],
    }
    return {
        "$schema": DIALECT,
        "title": "Stack",
        "description": "A stack: where its manifests are, and everything around them.",
        "type": "object",
        "properties": {
            "apiVersion": {"const": "reconciler/v1", "description": "The version of this format; may be left out."},
            "kind": {"const": "Stack", "description": "Always Stack."},
            "metadata": _metadata(),
            "spec": {"type": ["object", "null"], "properties": properties, "additionalProperties": False},
        },
        "required": ["kind"],
        "additionalProperties": False,
    }


def _metadata() -> dict[str, Any]:
    name = "The stack's name, part of every ownership mark; left out, the name of the folder."
    return {
        "type": ["object", "null"],
        "properties": {"name": {**described(name), **NAME_SCHEMA, "maxLength": MAX_STACK_NAME}},
        "additionalProperties": False,
    }


def _shared_properties() -> dict[str, Any]:
    """What an environment can say otherwise than the stack."""
    return {
        "manifests": {
            **described("Files, folders or globs of manifests, below the stack's folder; left out, all of it."),
            "type": ["array", "null"],
            "items": {"type": "string", "minLength": 1},
            "examples": [["manifests/"]],
        },
        "projects": {
            **described("Projects that exist without being managed here: the name used here, and the id."),
            "type": ["object", "null"],
            "propertyNames": {**NAME_SCHEMA, "maxLength": MAX_NAME},
            "additionalProperties": {"type": "string", "minLength": 1},
            "examples": [{"legacy": "proj_abc123"}],
        },
        "organization": {
            **described("The id of the organization that the keys must be of; keys of another are refused."),
            "type": ["string", "null"],
            "minLength": 1,
            "examples": ["org-abc123"],
        },
        "credentials": _credentials(),
        "backend": _backend(),
        "guards": _guards(),
        "refresh": _refresh(),
    }


def _environment() -> dict[str, Any]:
    properties = _shared_properties()
    properties["variables"] = {
        **described("Values of variables in this environment."),
        "type": ["object", "null"],
    }
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def _variables() -> dict[str, Any]:
    declaration = {
        "type": "object",
        "properties": {
            "default": {"description": "The value where none is given; without it, one must be given."},
            "description": {"type": "string", "description": "What it is for."},
            "type": {"enum": list(TYPES), "description": "What a value must be."},
        },
        "additionalProperties": False,
    }
    declares = [{"required": [name]} for name in ("default", "description", "type")]
    return {
        **described("Values for `${var.NAME}`: a default, or `{default, description, type}`."),
        "type": ["object", "null"],
        "propertyNames": {
            "pattern": VARIABLE_PATTERN,
            "patternErrorMessage": "A variable is named with letters, digits, '_' and '-', and begins with no digit.",
        },
        "additionalProperties": {"if": {"type": "object", "anyOf": declares}, "then": declaration},
    }


def _credentials() -> dict[str, Any]:
    return {
        **described("Where keys come from: `${env.NAME}` or `${file:PATH}`, never a key itself."),
        "type": ["object", "null"],
        "properties": {
            "admin": {**described("The organization's admin key; left out, `OPENAI_ADMIN_KEY`."), **_CREDENTIAL},
            "default": {
                **described("The key of what has no project of its own; left out, `OPENAI_API_KEY`."),
                **_CREDENTIAL,
            },
            "projects": {
                **described("The keys of projects, by the project's name here."),
                "type": ["object", "null"],
                "propertyNames": NAME_SCHEMA,
                "additionalProperties": _CREDENTIAL,
            },
        },
        "additionalProperties": False,
    }


def _backend() -> dict[str, Any]:
    local = {
        **described("State in a folder of this machine."),
        "type": ["object", "null"],
        "properties": {
            "path": {
                **described("The folder, below the stack's; elsewhere only through an environment variable."),
                "type": "string",
                "minLength": 1,
                "default": ".reconciler",
            }
        },
        "additionalProperties": False,
    }
    postgres = {
        **described("State in a PostgreSQL database; a stack may name it, and this version refuses to run with it."),
        "type": "object",
        "properties": {"dsn": {**described("How to connect."), "type": "string"}},
        "additionalProperties": False,
    }
    return {
        **described("Where the state is kept."),
        "type": ["object", "null"],
        "properties": {"local": local, "postgres": postgres},
        "additionalProperties": False,
        "$comment": "This version supports no other backend than `local`, a folder of this machine.",
    }


def _guards() -> dict[str, Any]:
    return {
        **described("How much one plan may delete."),
        "type": ["object", "null"],
        "properties": {
            "max_delete_percent": {
                **described("The largest share of managed objects, in percent."),
                "type": "integer",
                "minimum": 0,
                "maximum": 100,
                "default": 30,
            },
            "max_deletes": {
                **described("The largest number of objects."),
                "type": "integer",
                "minimum": 0,
                "default": 10,
            },
            "max_vanished_percent": {
                **described("The largest share of recorded objects, in percent, that may be gone at once."),
                "type": "integer",
                "minimum": 0,
                "maximum": 100,
                "default": 30,
            },
        },
        "additionalProperties": False,
    }


def _refresh() -> dict[str, Any]:
    left_out = Refresh()
    return {
        **described("When a scope that the audit log shows to be unchanged is read all the same."),
        "type": ["object", "null"],
        "properties": {
            "full_every_hours": {
                **described("After so many hours everything is read again, a year at most; 0 is always."),
                "type": "number",
                "minimum": 0,
                "maximum": 8760,
                "default": left_out.full_every_hours,
            },
            "full_every_runs": {
                **described("After so many applies everything is read again; 0 is always."),
                "type": "integer",
                "minimum": 0,
                "maximum": 100_000,
                "default": left_out.full_every_runs,
            },
            "overlap_minutes": {
                **described("How late an entry may come into the audit log, a day at most."),
                "type": "number",
                "minimum": 1,
                "maximum": 1440,
                "default": left_out.overlap_minutes,
            },
        },
        "additionalProperties": False,
    }


def _pace() -> dict[str, Any]:
    return {
        **described("How fast to call."),
        "type": ["object", "null"],
        "properties": {
            "admin_requests_per_minute": {
                **described("Calls of one admin endpoint a minute, from 0.01 to 100000; auto finds out."),
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
