"""JSON Schemas (draft 2020-12) of the kinds: one form for editors, one for validation.

The editors' form accepts an expression wherever a value can stand, because editors see manifests as
written. The validation form does not: by then, expressions have become values, and the validator
skips unknown ones. `python -m reconciler.manifests.schema FOLDER` writes the editors' form.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.manifests.kind_schema import document_schema, kind_schema
from reconciler.manifests.module_schema import module_schema
from reconciler.manifests.stack_schema import stack_schema
from reconciler.manifests.type_schema import DIALECT
from reconciler.model.kind import Declaration

__all__ = [
    "editor_schemas",
    "kind_schema",
    "manifest_schema",
    "schema_files",
    "stack_schema",
    "write_schemas",
]


def manifest_schema(kinds: Mapping[str, Declaration]) -> dict[str, Any]:
    """The editors' schema of any manifest; the `kind` of a document selects the rest."""
    summary = "\n".join(f"- `{kind.name}`: {kind.doc}" for kind in kinds.values())
    choices, definitions = [], {}
    for name, kind in kinds.items():
        # A pattern, because editors complete after any text that a constant begins with.
        is_kind = {"properties": {"kind": {"pattern": f"^{name}$"}}, "required": ["kind"]}
        choices.append({"if": is_kind, "then": {"$ref": f"#/$defs/{name}"}})
        definitions[name] = document_schema(kind, expressions=True)
    return {
        "$schema": DIALECT,
        "title": "Manifest",
        "type": "object",
        "required": ["kind", "metadata", "spec"],
        "properties": {
            "kind": {
                "type": "string",
                "enum": list(kinds),
                "description": "The kind of the document.",
                "markdownDescription": f"The kind of the document.\n\n{summary}",
            }
        },
        "allOf": choices,
        "$defs": definitions,
    }


def schema_files(kinds: Mapping[str, Declaration]) -> dict[str, str]:
    """All schemas of the editors' form, as file name and text."""
    schemas = dict(_editor_schemas(kinds))
    for name, kind in kinds.items():
        schemas[_file_name(name)] = kind_schema(kind, expressions=True)
    return {name: _text(schema) for name, schema in sorted(schemas.items())}


def editor_schemas() -> dict[str, str]:
    """The schemas that editors need for a stack, as file name and text."""
    return {name: _text(schema) for name, schema in _editor_schemas(_registry()).items()}


def _editor_schemas(kinds: Mapping[str, Declaration]) -> dict[str, dict[str, Any]]:
    """The schemas that modelines name: those of manifests, modules and the stack file."""
    return {
        "manifest.schema.json": manifest_schema(kinds),
        "module-definition.schema.json": module_schema(),
        "stack.schema.json": stack_schema(),
    }


def write_schemas(folder: Path, kinds: Mapping[str, Declaration] | None = None) -> list[Path]:
    """Write all schemas into a folder and remove those of former kinds. Returns the changed files."""
    schemas = schema_files(kinds if kinds is not None else _registry())
    folder.mkdir(parents=True, exist_ok=True)
    stale = _stale(folder, schemas)
    for path in stale:
        if path.name in schemas:
            path.write_text(schemas[path.name], encoding="utf-8")
        else:
            path.unlink()
    return stale


def _text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _file_name(name: str) -> str:
    stem = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
    return f"{stem}.schema.json"


def _stale(folder: Path, schemas: Mapping[str, str]) -> list[Path]:
    """The files that differ from their schema, and those of kinds that no longer exist."""
    stale = []
    for name, text in schemas.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path)
    present = sorted(folder.glob("*.schema.json"))
    stale += (path for path in present if path.name not in schemas)
    return stale


def _registry() -> Mapping[str, Declaration]:
    from reconciler.kinds import KINDS
    from reconciler.rules import RULE_KINDS

    return {**KINDS, **RULE_KINDS}


def main(arguments: list[str]) -> int:
    """Write the schemas into a folder; with `--check`, only list outdated ones."""
    check = "--check" in arguments
    folders = [argument for argument in arguments if argument != "--check"]
    if len(folders) != 1:
        sys.stderr.write("usage: python -m reconciler.manifests.schema [--check] FOLDER\n")
        return 1
    folder = Path(folders[0])
    if not check:
        for path in write_schemas(folder):
            sys.stderr.write(f"{path} written\n")
        return 0
    stale = _stale(folder, schema_files(_registry()))
    for path in stale:
        sys.stderr.write(f"{path} is out of date\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
