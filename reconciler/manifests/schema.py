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
        "allOf": [
            {
                # A pattern, because editors take a constant for a prefix of it while they complete.
                "if": {"properties": {"kind": {"pattern": f"^{name}$"}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name in kinds
        ],
        "$defs": {name: document_schema(kind, expressions=True) for name, kind in kinds.items()},
    }


def schema_files(kinds: Mapping[str, Declaration]) -> dict[str, str]:
    """All schemas of the editors' form, as file name and text."""
    schemas = {
        f"{_file_stem(name)}.schema.json": kind_schema(kind, expressions=True)
        for name, kind in kinds.items()
    }
    schemas["manifest.schema.json"] = manifest_schema(kinds)
    schemas["module-definition.schema.json"] = module_schema()
    schemas["stack.schema.json"] = stack_schema()
    return {
        name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in sorted(schemas.items())
    }


EDITOR_SCHEMAS = ("manifest", "module-definition", "stack")
"""The schemas that modelines name."""


def editor_schemas() -> dict[str, str]:
    """What editors need for a stack, as file name and text: manifests, modules and the stack file."""
    files = schema_files(_registry())
    names = [f"{name}.schema.json" for name in EDITOR_SCHEMAS]
    return {name: files[name] for name in names}


def write_schemas(folder: Path, kinds: Mapping[str, Declaration] | None = None) -> list[Path]:
    """Write all schemas into a folder and remove those of former kinds. Returns the changed files."""
    wanted = schema_files(kinds if kinds is not None else _registry())
    folder.mkdir(parents=True, exist_ok=True)
    stale = _stale(folder, wanted)
    for path in stale:
        if path.name in wanted:
            path.write_text(wanted[path.name], encoding="utf-8")
        else:
            path.unlink()
    return stale


def _file_stem(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def _stale(folder: Path, wanted: Mapping[str, str]) -> list[Path]:
    differing = [
        folder / name
        for name, text in wanted.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]
    return differing + sorted(
        path for path in folder.glob("*.schema.json") if path.name not in wanted
    )


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
    stale = _stale(folder, schema_files(_registry())) if check else write_schemas(folder)
    for path in stale:
        sys.stderr.write(f"{path} {'is out of date' if check else 'written'}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
