"""A spec that is written as YAML or JSON and read by the real loader is the same spec."""

from __future__ import annotations

import json
import re
import shutil
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.kinds import KINDS
from reconciler.manifests import Settings, load_configuration
from reconciler.manifests.nulls import without_nulls
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.types import BundleType, FileSetType, LocalFileType
from reconciler.model.values import SecretValue, with_secrets
from tests.properties.strategies import TRICKY, Surroundings, examples, json_objects, specs

CONTENTS = {"data/a.md": b"# A\n", "data/SKILL.md": b"---\nname: a\ndescription: Some.\n---\n"}
AROUND = Surroundings(CONTENTS, {"file_ids": ("file-1",), "vector_store_ids": ("vs_1",)})
SPECIAL = (LocalFileType, FileSetType, BundleType)
GLOBS = [{"path": "data/**"}]


class Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 takes for a number and PyYAML, which is of 1.1, does not."""


NUMBER = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^0o[0-7]+$")
Dumper.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER, list("-+.0123456789"))


def yaml_text(value: Any, **options: Any) -> str:
    """YAML as PyYAML writes it; texts with a next line character (U+0085) it cannot write unless all is ASCII."""
    text = yaml.dump(value, Dumper=Dumper, **{"allow_unicode": True, **options})
    return (
        yaml.dump(value, Dumper=Dumper, **{**options, "allow_unicode": False})
        if "\x85" in text
        else text
    )


def escaped(value: Any) -> Any:
    """A value in which nothing is an expression."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return [escaped(item) for item in value] if isinstance(value, list) else value


def document(kind: Kind, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = (
        {"name": "it"}
        if kind.scope is ScopeType.ORGANIZATION
        else {"name": "it", "project": "search"}
    )
    return {"kind": kind.name, "metadata": metadata, "spec": escaped(spec)}


def loaded(folder: Path, name: str, text: str) -> Any:
    """The spec that the loader makes of a text, local files left as their paths."""
    shutil.rmtree(folder / "manifests", ignore_errors=True)
    (folder / "manifests").mkdir()
    (folder / "manifests" / name).write_bytes(text.encode())
    resources = load_configuration(Settings(root=folder), KINDS).resources
    return next(one.spec for one in resources if one.address.name == "it")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for path, content in CONTENTS.items():
        (tmp_path / path).write_bytes(content)
    (tmp_path / "reconciler.yaml").write_text(
        "kind: Stack\nmetadata: {name: shop}\nspec: {manifests: [manifests/], projects: {search: proj_1}}\n"
    )
    return tmp_path


def as_written(secret: SecretValue) -> dict[str, str]:
    """What a manifest says of a secret."""
    origin, _, name = secret.source.partition(" ")
    return {f"from_{origin}": name}


def strict(value: Any) -> str:
    """JSON text: tells 1 from 1.0 and from true, which `==` does not."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True)


@pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))
def test_a_spec_survives_yaml(kind: Kind, folder: Path) -> None:
    bundles = {item.name: GLOBS for item in kind.fields if isinstance(item.type, BundleType)}
    plain = {item.name for item in kind.fields if not isinstance(item.type, SPECIAL)}

    @examples(25)
    @given(
        spec=specs(kind, AROUND),
        flow=st.sampled_from([None, True, False]),
        uni=st.booleans(),
        width=st.just(40),
    )
    def check(spec: dict[str, Any], flow: bool | None, uni: bool, width: int) -> None:
        shown = without_nulls(kind, {name: value for name, value in spec.items() if name in plain})
        wanted = with_secrets(shown, as_written)
        written = {**wanted, **bundles, **({"path": "data/a.md"} if "path" in spec else {})}
        text = yaml_text(
            document(kind, written), default_flow_style=flow, allow_unicode=uni, width=width
        )
        found = loaded(folder, "it.yaml", text)
        assert strict(with_secrets({name: found[name] for name in wanted}, as_written)) == strict(
            wanted
        )

    check()


def test_a_spec_survives_json(folder: Path) -> None:
    kind = KINDS["Assistant"]

    @examples(56)
    @given(spec=specs(kind, AROUND), ascii=st.booleans(), indent=st.sampled_from([None, 2]))
    def check(spec: dict[str, Any], ascii: bool, indent: int | None) -> None:
        text = json.dumps(document(kind, spec), ensure_ascii=ascii, indent=indent)
        assert strict(loaded(folder, "it.json", text)) == strict(without_nulls(kind, spec))

    check()


@pytest.mark.parametrize("ascii", [True, False])
@pytest.mark.parametrize("text", [*TRICKY, "It\x99s", "a \u2028 b", "\uffff", "\\\u2028"])
def test_a_tricky_text_survives_json(text: str, ascii: bool, folder: Path) -> None:
    spec = {"model": "m", "instructions": text, "metadata": {f"key {text}"[:64]: text}}
    dumped = json.dumps(document(KINDS["Assistant"], spec), ensure_ascii=ascii)
    assert strict(loaded(folder, "it.json", dumped)) == strict(spec)


@pytest.mark.parametrize("text", TRICKY)
def test_a_tricky_text_stays_what_it_is(text: str, folder: Path) -> None:
    spec = {"model": "m", "instructions": text, "metadata": {"text": text}, "name": text[:256]}
    dumped = yaml_text(document(KINDS["Assistant"], spec))
    assert strict(loaded(folder, "it.yaml", dumped)) == strict(spec)


def test_free_json_survives_yaml(folder: Path) -> None:
    @examples(84)
    @example(
        parameters={"properties": {"on": {"const": None}, "y": {"default": 1.0}}, "minimum": -0.0}
    )
    @given(parameters=json_objects)
    def check(parameters: dict[str, Any]) -> None:
        spec = {
            "model": "m",
            "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}],
        }
        text = yaml_text(document(KINDS["Assistant"], spec))
        assert strict(loaded(folder, "it.yaml", text)) == strict(spec)

    check()
