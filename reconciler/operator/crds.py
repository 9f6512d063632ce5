"""The custom resource definitions of the operator, as Kubernetes installs them.

The schemas are defined only here. `python -m reconciler.operator.crds` prints them as YAML, which
is the content of `deploy/kubernetes/crds.yaml`. `resources.py` parses objects that they accept.

The group is the name of the program as a domain. Kubernetes wants a domain so that groups of
different projects do not clash, and reserves `*.k8s.io` alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import yaml

GROUP = "reconciler.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
STACKS = "stacks"
ORGANIZATIONS = "organizations"

APPROVE = f"{GROUP}/approve"
"""The annotation that approves the plan with a digest."""
RECONCILE = f"{GROUP}/reconcile"
"""The annotation whose change, to any text, requests a run at once."""
SOURCE_LABEL = f"{GROUP}/source"
"""The label of ConfigMaps that stacks may name. The operator watches no other ConfigMap."""
STACK_LABEL = f"{GROUP}/stack"
"""The label of Secrets that hold keys of a Stack: the uid of the Stack."""
FINALIZER = f"{GROUP}/stack"
"""Keeps a Stack until the action of its deletion policy is done."""

MODES = ("observe", "plan", "approve", "apply")
DELETION_POLICIES = ("Retain", "Delete")
ACTIONS = ("create", "update", "replace", "delete", "adopt", "forget")

MAX_CHANGES = 50
"""The most changes of a plan that a status lists."""
MAX_MESSAGE = 1024
MAX_VARIABLES = 100
MAX_REFERENCES = 20
MAX_PATTERNS = 100
DEFAULT_INTERVAL = "10m"
SHORTEST_INTERVAL = 30
LONGEST_INTERVAL = 7 * 24 * 3600

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
NAMESPACE_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
KEY_PATTERN = r"^[-._a-zA-Z0-9]+$"
INTERVAL_PATTERN = r"^([0-9]+(h|m|s))+$"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
KEY_VARIABLE_PATTERN = r"^[A-Z][A-Z0-9_]*_KEY$"
ENVIRONMENT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

_REST = r"[^/\\\x00-\x1f]"
_PART = rf"([^./\\\x00-\x1f]{_REST}*|\.[^./\\\x00-\x1f]{_REST}*|\.\.{_REST}+)"
PATH_PATTERN = rf"^{_PART}(/{_PART})*$"
"""A relative path without empty parts, `.` and `..`. The syntax is that of Go and of Python."""

ALLOW_DELETE_PATTERN = r"^[^/\x00-\x1f]+/[^\x00-\x1f]*[^*?/\x00-\x1f][^\x00-\x1f]*$"
"""An address, or a pattern that does not match every name."""

Schema = dict[str, Any]


def _object(
    description: str,
    properties: Mapping[str, Schema],
    required: tuple[str, ...] = (),
    rules: tuple[Schema, ...] = (),
) -> Schema:
    schema: Schema = {"type": "object", "description": description, "properties": dict(properties)}
    if required:
        schema["required"] = list(required)
    if rules:
        schema["x-kubernetes-validations"] = list(rules)
    return schema


def _text(description: str, *, longest: int = 253, **more: Any) -> Schema:
    return {"type": "string", "description": description, "maxLength": longest, **more}


def _count(description: str) -> Schema:
    return {"type": "integer", "description": description, "minimum": 0}


def _time(description: str) -> Schema:
    return {"type": "string", "format": "date-time", "description": description}


def _rule(rule: str, message: str) -> Schema:
    return {"rule": rule, "message": message}


def _path(description: str) -> Schema:
    return _text(description, longest=512, minLength=1, pattern=PATH_PATTERN)


def _name(description: str) -> Schema:
    return _text(description, minLength=1, pattern=NAME_PATTERN)


def _config_map(description: str) -> Schema:
    items = {
        "type": "array",
        "description": "Where keys of the ConfigMap are placed as files. By default each key is a file.",
        "maxItems": 1000,
        "items": _object(
            "A key and its file.",
            {
                "key": _text("The key in the ConfigMap.", minLength=1, pattern=KEY_PATTERN),
                "path": _path("The path of the file."),
            },
            ("key", "path"),
        ),
    }
    return _object(
        description,
        {
            "name": _name(f"The name of a ConfigMap with the label {SOURCE_LABEL}."),
            "items": items,
        },
        ("name",),
    )


def _secret_reference() -> Schema:
    return _object(
        "A key of a Secret in the namespace of the Organization.",
        {
            "name": _name("The name of the Secret."),
            "key": _text("The key in the Secret.", minLength=1, pattern=KEY_PATTERN),
        },
        ("name", "key"),
    )


def _key(description: str) -> Schema:
    return _object(description, {"secretRef": _secret_reference()}, ("secretRef",))


def _patterns(description: str, **more: Any) -> Schema:
    return {
        "type": "array",
        "description": description,
        "maxItems": MAX_PATTERNS,
        "items": {"type": "string", "minLength": 1, "maxLength": 512, **more},
    }


def _policies(description: str) -> Schema:
    entry = _object(
        "Exactly one place of policies.",
        {
            "configMap": _config_map("A ConfigMap with policies."),
            "path": _path("A folder below the folder of sources, with policies."),
        },
        rules=(_rule("has(self.configMap) != has(self.path)", "name a configMap or a path"),),
    )
    return {
        "type": "array",
        "description": description,
        "maxItems": MAX_REFERENCES,
        "items": entry,
    }


def _condition() -> Schema:
    return _object(
        "A condition, as Kubernetes defines them.",
        {
            "type": _text("The type of the condition.", longest=316),
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": _text("A stable name for programs.", longest=128),
            "message": _text("A sentence for people.", longest=MAX_MESSAGE),
            "lastTransitionTime": _time("When the status changed last."),
            "observedGeneration": {"type": "integer", "format": "int64"},
        },
        ("type", "status", "reason", "message", "lastTransitionTime"),
    )


def _conditions() -> Schema:
    return {
        "type": "array",
        "items": _condition(),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    }


def _source() -> Schema:
    return _object(
        "Where the stack file and the manifests are.",
        {
            "configMap": _config_map("A ConfigMap of this namespace whose keys are files."),
            "path": _path(
                "A folder below the folder of sources of the operator, such as a git checkout."
            ),
            "subPath": _path("The folder of the stack within `path`."),
        },
        rules=(
            _rule("has(self.configMap) != has(self.path)", "name a configMap or a path"),
            _rule("!has(self.subPath) || has(self.path)", "subPath belongs to path"),
        ),
    )


def stack_spec() -> Schema:
    """The schema of `spec` of a Stack."""
    interval_rules = [
        _rule(
            f"duration(self) >= duration('{SHORTEST_INTERVAL}s') && "
            f"duration(self) <= duration('{LONGEST_INTERVAL}s')",
            "write an interval from 30s to 168h",
        )
    ]
    return _object(
        "What to reconcile, and how far the operator may go.",
        {
            "source": _source(),
            "organizationRef": _object(
                "The Organization whose keys the stack uses.",
                {
                    "name": _name("The name of the Organization."),
                    "namespace": _text(
                        "The namespace of the Organization; this one by default. The Organization "
                        "has to allow the namespace of the Stack.",
                        longest=63,
                        minLength=1,
                        pattern=NAMESPACE_PATTERN,
                    ),
                },
                ("name",),
            ),
            "environment": _text(
                "The environment of the stack file.",
                longest=63,
                minLength=1,
                pattern=ENVIRONMENT_PATTERN,
            ),
            "mode": {
                "type": "string",
                "description": "What the operator may do: report drift (observe), also plan (plan), apply "
                f"a plan whose digest the annotation {APPROVE} names (approve), or apply every plan "
                "that no guard refuses (apply).",
                "enum": list(MODES),
                "default": MODES[0],
            },
            "interval": _text(
                "The time from one look at the live objects to the next, such as 10m or 1h30m.",
                longest=32,
                pattern=INTERVAL_PATTERN,
                **{"x-kubernetes-validations": interval_rules},
            ),
            "suspend": {
                "type": "boolean",
                "description": "Stops runs of this Stack, also one that is under way.",
                "default": False,
            },
            "variables": {
                "type": "object",
                "description": "Variables of the stack, as --var sets them. No place for secrets.",
                "maxProperties": MAX_VARIABLES,
                "additionalProperties": {"type": "string", "maxLength": 4096},
            },
            "policies": _policies("Policies in addition to those of the source and Organization."),
            "deletionPolicy": {
                "type": "string",
                "description": "What happens to the objects of the stack when this Stack is deleted: "
                "nothing (Retain), or they are destroyed as `reconciler destroy` would (Delete).",
                "enum": list(DELETION_POLICIES),
                "default": DELETION_POLICIES[0],
            },
            "allowDelete": _patterns(
                "Addresses and patterns of what the guards let a plan delete, as --allow-delete.",
                pattern=ALLOW_DELETE_PATTERN,
            ),
        },
        ("source", "organizationRef"),
        rules=(
            _rule(
                "!has(self.deletionPolicy) || self.deletionPolicy != 'Delete' || "
                "(has(self.mode) && self.mode in ['approve', 'apply'])",
                "deletionPolicy Delete needs mode approve or apply: other modes never write",
            ),
        ),
    )


def stack_status() -> Schema:
    """The schema of `status` of a Stack."""
    change = _object(
        "A change of the plan.",
        {
            "address": _text("The address of the resource.", longest=512),
            "action": _text("The action.", longest=32),
            "reason": _text("Why, as a name.", longest=64),
            "destroys": _text("What the change destroys.", longest=256),
            "digest": _text("Differs for other values.", longest=64),
        },
        ("address", "action"),
    )
    plan = _object(
        "The plan of the last run, without objects that stay as they are.",
        {
            "digest": _text("What approves exactly this plan.", longest=64),
            "summary": _text("The counts in words.", longest=256),
            "counts": _object(
                "The number of changes by action.",
                {action: _count(f"Changes with the action {action}.") for action in ACTIONS},
            ),
            "destroys": _count("How many changes destroy something."),
            "changes": {"type": "array", "maxItems": MAX_CHANGES, "items": change},
            "omitted": _count("How many changes the list leaves out."),
            "madeAt": _time("When a plan with this digest was made first."),
        },
    )
    run = _object(
        "The last run.",
        {
            "number": _count("How many runs the operator has begun for this Stack."),
            "time": _time("When it ended. May be up to two intervals old while nothing changes."),
            "command": _text("plan, apply, drift or destroy.", longest=32),
            "result": _text("The status of the stack after it.", longest=32),
            "reason": _text("Why, as a name.", longest=64),
        },
    )
    return _object(
        "What the operator knows.",
        {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": _conditions(),
            "stack": _text("The name of the stack in its stack file.", longest=253),
            "environment": _text("The environment of the stack.", longest=63),
            "sourceRevision": _text(
                "The commit or digest of the source of the last run.", longest=128
            ),
            "lastAppliedRevision": _text(
                "The commit or digest that was applied last.", longest=128
            ),
            "plan": plan,
            "drifted": _count("How many objects somebody changed outside of reconciler."),
            "driftSince": _time("When drift was seen first. Absent without drift."),
            "lastRun": run,
            "approval": _object(
                "The approval that was used last. It is valid once.",
                {
                    "digest": _text("The digest of the plan.", longest=64),
                    "time": _time("When the operator took the approval."),
                },
            ),
        },
    )


def organization_spec() -> Schema:
    """The schema of `spec` of an Organization."""
    base_url_rules = [
        _rule(
            "isURL(self) && (self.startsWith('https://') || "
            "url(self).getHostname() in ['localhost', '127.0.0.1', '::1'])",
            "write an https URL",
        )
    ]
    project_key = _object(
        "A key of a project.",
        {
            "variable": _text(
                "The environment variable that stack files name it by, such as SEARCH_API_KEY.",
                longest=128,
                pattern=KEY_VARIABLE_PATTERN,
            ),
            "secretRef": _secret_reference(),
        },
        ("variable", "secretRef"),
    )
    return _object(
        "Keys, pace and limits of an organization at the API. Who may write this object may have "
        "Secrets of its namespace sent to `baseUrl`.",
        {
            "organizationId": _text(
                "The id of the organization. Keys of another one are refused.",
                longest=128,
                pattern=r"^org-[A-Za-z0-9_-]+$",
            ),
            "baseUrl": _text(
                "The address of the API; OpenAI's own by default.",
                longest=512,
                minLength=1,
                **{"x-kubernetes-validations": base_url_rules},
            ),
            "adminKey": _key("The admin key, OPENAI_ADMIN_KEY for stack files."),
            "defaultKey": _key("The key of the default project, OPENAI_API_KEY for stack files."),
            "projectKeys": {
                "type": "array",
                "description": "Keys of projects, by the variables that stack files name.",
                "maxItems": 500,
                "items": project_key,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["variable"],
            },
            "adminRequestsPerMinute": {
                "type": "integer",
                "description": "The rate limit of each admin route. It is detected by default.",
                "minimum": 1,
                "maximum": 100000,
            },
            "allowedNamespaces": {
                "type": "array",
                "description": "Namespaces whose Stacks may use this Organization, besides its own; "
                '"*" for all.',
                "maxItems": 1000,
                "items": {
                    "type": "string",
                    "maxLength": 63,
                    "pattern": r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$",
                },
            },
            "allowedSinks": _patterns(
                "Places that keys may be delivered to, besides Secrets of a Stack's own namespace."
            ),
            "allowedSources": _patterns("Places that secrets may be read from; none by default."),
            "policies": _policies(
                "Policies of all Stacks of this Organization. ConfigMaps are those of its namespace."
            ),
        },
        rules=(
            _rule(
                "has(self.adminKey) || has(self.defaultKey) || has(self.projectKeys)",
                "name at least one key",
            ),
        ),
    )


def organization_status() -> Schema:
    """The schema of `status` of an Organization."""
    return _object(
        "What the operator knows.",
        {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": _conditions(),
        },
    )


def _definition(
    kind: str,
    plural: str,
    short: list[str],
    spec: Schema,
    status: Schema,
    columns: list[Schema],
) -> Schema:
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": short,
                "categories": ["reconciler"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _column(name: str, path: str, type: str = "string", priority: int = 0) -> Schema:
    return {"name": name, "type": type, "jsonPath": path, "priority": priority}


def _of_condition(type: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type}")].{field}'


def definitions() -> tuple[Schema, ...]:
    """All custom resource definitions."""
    return (
        _definition(
            "Organization",
            ORGANIZATIONS,
            ["rorg"],
            organization_spec(),
            organization_status(),
            [
                _column("Id", ".spec.organizationId"),
                _column("Ready", _of_condition("Ready", "status")),
                _column("Reason", _of_condition("Ready", "reason")),
                _column("Age", ".metadata.creationTimestamp", "date"),
            ],
        ),
        _definition(
            "Stack",
            STACKS,
            ["rstack"],
            stack_spec(),
            stack_status(),
            [
                _column("Mode", ".spec.mode"),
                _column("Ready", _of_condition("Ready", "status")),
                _column("Reason", _of_condition("Ready", "reason")),
                _column("Plan", ".status.plan.summary"),
                _column("Drifted", ".status.drifted", "integer"),
                _column("Last run", ".status.lastRun.time", "date"),
                _column("Digest", ".status.plan.digest", priority=1),
                _column("Revision", ".status.lastAppliedRevision", priority=1),
                _column("Age", ".metadata.creationTimestamp", "date"),
            ],
        ),
    )


def as_yaml() -> str:
    """All definitions as YAML documents."""
    text = yaml.safe_dump_all(definitions(), sort_keys=False, width=100)
    return f"# Written by `python -m reconciler.operator.crds`.\n---\n{text}"


if __name__ == "__main__":
    sys.stdout.write(as_yaml())
