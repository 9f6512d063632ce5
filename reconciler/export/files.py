"""Manifests in folders, as a person would write them.

`files_of` makes the texts, `write_files` puts them on disk. Long texts get files of their own, and
ids of declared objects are written as references.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import repeat
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.errors import UsageError
from reconciler.export import yaml_text
from reconciler.export.naming import kebab
from reconciler.export.resource import ExportedResource
from reconciler.export.yaml_text import Commented, Raw
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.types import Either, ListOf, MapOf, Object, Tagged, Type
from reconciler.model.values import MAP, FileSet, Member, Reference, Spec, Template

PROMPTS = "prompts"
"""The folder of long texts."""

ORGANIZATION = "organization"
"""The folder of objects outside of projects, in the layout `project`."""

DEFAULT_KEY = "default-key"
"""The folder of objects in the project of the default key, which manifests do not name."""

SHARED = "shared"
"""The folder of documents that declare objects in several projects."""

LONG_TEXT_LINES = 5
LONG_TEXT_CHARACTERS = 600
MAX_FILE_CHARACTERS = 1_000_000
"""A manifest is split beyond this size. The reader accepts five times as many bytes."""

_SKIPPED_FOLDERS = frozenset({"secrets", "node_modules", "venv", "__pycache__"})
"""Folders in which manifests are not searched for."""

_FLOW_KEYS = frozenset({"metadata"})
_MOST_SHOWN = 3
_SUFFIXES = ("s", "x", "z", "ch", "sh")


class FileLayout(StrEnum):
    """How documents are distributed over files."""

    PROJECT = "project"  # a folder for each project, a file for each kind
    KIND = "kind"  # a file for each kind
    FLAT = "flat"  # one file


class YamlDocument(Struct, frozen=True):
    """One YAML document. Texts that are expressions are `Raw`."""

    kind: Kind
    name: str | Raw
    project: str | Raw | None
    spec: Spec
    for_each: Mapping[str, Any] | list[str] | None = None
    lifecycle: Mapping[str, Any] = field(default_factory=dict)
    comments: Mapping[str, str] = field(default_factory=dict)
    """A comment for a field, by its name; the comment of "" stands above the document."""
    project_folder: str | None = None
    """The project that the document is filed under, where `project` is an expression."""

    @property
    def sort_key(self) -> tuple[str, bool, str, str]:
        """By kind, name and project; documents with `for_each` come first."""
        project = "" if self.project is None else yaml_text.scalar(self.project)
        return self.kind.name, self.for_each is None, yaml_text.scalar(self.name), project


def document_of(
    resource: ExportedResource, kind: Kind, *, adopt: bool = False, **lifecycle: Any
) -> YamlDocument:
    """The document of a resource; with `adopt`, it names the object that it declares."""
    if resource.prevent_destroy:
        lifecycle["prevent_destroy"] = True
    if adopt:
        lifecycle["adopt"] = resource.id
    return YamlDocument(
        kind,
        resource.address.name,
        resource.address.project,
        resource.spec,
        lifecycle=lifecycle,
        comments=resource.comments,
    )


def files_of(
    documents: Iterable[YamlDocument],
    *,
    layout: FileLayout = FileLayout.PROJECT,
    prefix: str = "",
    header: str = "",
) -> dict[str, str]:
    """The text of each file, by its path below the folder that is written to.

    `prefix` is the path of that folder below the stack's folder, for `${file:…}`. `header` is a
    comment at the top of each manifest. The same documents give the same texts in any order.
    """
    ordered = sorted(documents, key=lambda each: (each.project_folder or "", *each.sort_key))
    prompts = _Prompts(ordered, prefix)
    folders = _Folders()
    texts: dict[str, list[str]] = defaultdict(list)
    for document in ordered:
        text = _document_text(document, prompts)
        texts[_stem(document, layout, folders)].append(text)
    files = dict(prompts.files)
    for stem, parts in texts.items():
        files |= _split(stem, parts, header)
    return dict(sorted(files.items()))


def write_files(folder: Path, files: Mapping[str, str], *, force: bool = False) -> list[Path]:
    """Write files below a folder; the paths of those whose content changed.

    Raises UsageError before anything is written if the folder is not empty. With `force`, only the
    files that are written replace others, and everything else in the folder stays. A new folder
    appears with all its files at once, so that an interrupt leaves none or all of them.
    """
    check_folder(folder, force=force)
    if not folder.exists() or not any(folder.iterdir()):
        return _make_folder(folder, files)
    changed = []
    for name, text in files.items():
        path = folder / name
        # JSON of the API can hold half of a surrogate pair, which UTF-8 alone cannot encode.
        content = text.encode("utf-8", "surrogatepass")
        if _content_of(path) == content:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
        changed.append(path)
    return changed


def _make_folder(folder: Path, files: Mapping[str, str]) -> list[Path]:
    staged = folder.with_name(f".{folder.name}.new")  # hidden, so no search for manifests finds it
    try:
        if staged.is_symlink():
            staged.unlink()
        shutil.rmtree(staged, ignore_errors=True)  # of a run that was killed
        for name, text in files.items():
            path = staged / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
        if files:
            # It is empty here, and a rename over a folder fails on some systems.
            if folder.exists():
                folder.rmdir()
            os.rename(staged, folder)  # noqa: PTH104 - Path.rename is the same
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from error
    return [folder / name for name in files]


def check_folder(folder: Path, *, force: bool = False) -> None:
    """Raise UsageError if `write_files` would refuse the folder."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(
            f"{folder} is not a folder", hint="Name another folder with --out, or remove it."
        )
    present: list[str] = []
    try:
        if folder.exists():
            present = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror or error}") from error
    if present and not force:
        more = ", …" if len(present) > _MOST_SHOWN else ""
        first = ", ".join(present[:_MOST_SHOWN]) + more
        raise UsageError(
            f"The folder {folder} is not empty: it has {first}",
            hint="Name another folder with --out, or use --force to replace the files that the "
            "export writes. Other files stay as they are.",
        )


def _content_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step, so that an interrupt leaves either the old or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    os.replace(temporary, path)  # noqa: PTH105 - Path.replace is the same


# --- where documents go


class _Folders:
    """The folders of projects. Names that differ in case alone get different folders."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def of(self, project: str) -> str:
        """The folder of a project."""
        name = project
        # A project may have the name of a folder that is not searched, such as `venv`.
        reserved = {ORGANIZATION, DEFAULT_KEY, SHARED, PROMPTS, *_SKIPPED_FOLDERS}
        while name.casefold() in reserved or self._taken.get(name.casefold(), project) != project:
            name = f"{name}-project"
        self._taken[name.casefold()] = project
        return name


def _stem(document: YamlDocument, layout: FileLayout, folders: _Folders) -> str:
    """The path of a document's file, without its suffix."""
    if layout is FileLayout.FLAT:
        return "manifests"
    file = _plural(kebab(document.kind.name))
    if layout is FileLayout.KIND:
        return file
    if document.kind.defines_project and isinstance(document.name, str):
        return f"{folders.of(document.name)}/project"
    project = document.project_folder
    if project is None and isinstance(document.project, str):
        project = document.project
    if project is not None:
        return f"{folders.of(project)}/{file}"
    if document.project is not None:
        return f"{SHARED}/{file}"
    is_keyed = document.kind.scope is ScopeType.PROJECT_KEY
    return f"{DEFAULT_KEY if is_keyed else ORGANIZATION}/{file}"


def _plural(word: str) -> str:
    if word.endswith(("hosted-tools", "permissions")):
        return word
    if word.endswith("y") and not word.endswith(("ay", "ey", "oy")):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(_SUFFIXES) else f"{word}s"


def _split(stem: str, parts: list[str], header: str) -> Iterator[tuple[str, str]]:
    """The files of one stem, each below the size that is read."""
    top = yaml_text.comment_lines(header)
    if header:
        top += "\n"
    chunks: list[list[str]] = [[]]
    size = 0
    for part in parts:
        # A document is never split, so one alone may be larger.
        if chunks[-1] and size + len(part) > MAX_FILE_CHARACTERS:
            chunks.append([])
            size = 0
        chunks[-1].append(part)
        size += len(part)
    for number, chunk in enumerate(chunks, start=1):
        name = f"{stem}.yaml" if number == 1 else f"{stem}-{number}.yaml"
        yield name, top + "---\n".join(chunk)


# --- the text of a document


def _document_text(document: YamlDocument, prompts: _Prompts) -> str:
    metadata: dict[str, Any] = {"name": document.name}
    if document.project is not None:
        metadata["project"] = document.project
    content: dict[str, Any] = {"kind": document.kind.name, "metadata": metadata}
    if document.for_each is not None:
        content["for_each"] = document.for_each
    content["spec"] = _spec(document, prompts)
    if document.lifecycle:
        content["lifecycle"] = dict(document.lifecycle)
    above = yaml_text.comment_lines(document.comments.get("", ""))
    return above + yaml_text.document(content, flow=_FLOW_KEYS)


def _spec(document: YamlDocument, prompts: _Prompts) -> dict[str, Any]:
    types = {declared.name: declared.type for declared in document.kind.fields}
    spec: dict[str, Any] = {}
    for name in _ordered_names(document.spec, types):
        value = ordered(types.get(name), document.spec[name])
        value = prompts.replaced(document, (name,), value)
        about = document.comments.get(name)
        spec[name] = Commented(value, about) if about else value
    return spec


def _ordered_names(present: Collection[str], known: Collection[str]) -> list[str]:
    """The names that are present: known ones first, in the order in which they are known."""
    names = [name for name in known if name in present]
    return names + [name for name in present if name not in known]


def ordered(type_: Type | None, value: Any) -> Any:
    """A value with its keys in the order of the type, ready to be written."""
    if isinstance(value, Reference | Template):
        return Raw(expression_of(value))
    if isinstance(value, FileSet):
        return [_member(member) for member in value.members]
    match type_:
        case Object() if isinstance(value, MAP):
            return _ordered_object(type_, value)
        case Tagged() if isinstance(value, MAP):
            variant = type_.variants.get(str(value.get(type_.tag)), Object(()))
            head = {type_.tag: value[type_.tag]} if type_.tag in value else {}
            return {**head, **_ordered_object(variant, value, without=type_.tag)}
        case ListOf(item=inner) if isinstance(value, list | tuple):
            return [ordered(inner, element) for element in value]
        case MapOf(value=inner) if isinstance(value, MAP):
            return {key: ordered(inner, element) for key, element in value.items()}
        case Either(other=inner):
            return ordered(inner, value)
    if isinstance(value, MAP):
        return {key: ordered(None, element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [ordered(None, element) for element in value]
    return value


def expression_of(value: Reference | Template) -> str:
    """A reference, or a text with references, as an expression."""
    if isinstance(value, Reference):
        return str(value)
    text = ""
    for part in value.parts:
        text += str(part) if isinstance(part, Reference) else yaml_text.escaped(part)
    return text


def _ordered_object(
    type_: Object, value: Mapping[str, Any], *, without: str = ""
) -> dict[str, Any]:
    types = {part.name: part.type for part in type_.properties}
    names = _ordered_names(value, types)
    return {name: ordered(types.get(name), value[name]) for name in names if name != without}


def _member(member: Member) -> dict[str, Any]:
    if member.content is not None:
        entry: dict[str, Any] = {"path": member.content.path}
    else:
        entry = {"file_id": ordered(None, member.file_id)}
    for name in ("attributes", "chunking_strategy"):
        if getattr(member, name) is not None:
            entry[name] = ordered(None, getattr(member, name))
    return entry


# --- long texts


_Path = tuple[str, ...]
"""Where a text is in a spec: keys and indexes from the field down."""


class _Prompts:
    """Long texts, each in a file of its own, named after its resource.

    If several texts would have one name, each name includes the project, the kind and the field.
    """

    def __init__(self, documents: Iterable[YamlDocument], prefix: str) -> None:
        self.files: dict[str, str] = {}
        self._prefix = f"{prefix}/" if prefix not in ("", ".") else ""
        self._names = self._chosen(documents)

    def replaced(self, document: YamlDocument, path: tuple[str, ...], value: Any) -> Any:
        """The value with an expression in place of each long text."""

        def replaced(text: str, at: tuple[str, ...]) -> Any:
            name = self._names.get((id(document), at))
            if name is None:
                return text
            self.files[name] = text
            return Raw(f"${{file:{self._prefix}{name}}}")

        return _with_texts(value, path, replaced)

    def _chosen(self, documents: Iterable[YamlDocument]) -> dict[tuple[int, _Path], str]:
        """The file of each long text, by the identity of its document and its path there."""
        rest: list[tuple[YamlDocument, _Path]] = []
        for document in documents:
            rest += zip(repeat(document), _long_texts(document))
        chosen: dict[tuple[int, _Path], str] = {}
        taken: set[str] = set()
        for spelling in (_name, _name_and_project, _name_and_kind, _name_and_field):
            groups: dict[str, list[tuple[YamlDocument, _Path]]] = defaultdict(list)
            for document, at in rest:
                # Case is ignored, because file systems can ignore it.
                groups[spelling(document, at).casefold()].append((document, at))
            rest = []
            for name, alike in groups.items():
                if len(alike) > 1 or name in taken:
                    rest += alike
                    continue
                ((document, at),) = alike
                chosen[id(document), at] = f"{PROMPTS}/{name}.md"
            # Add names only after the round, so that no name depends on the order within it.
            taken.update(map(_stem_of_prompt, chosen.values()))
        return chosen


def _stem_of_prompt(path: str) -> str:
    return path.removeprefix(f"{PROMPTS}/").removesuffix(".md")


def _name(document: YamlDocument, at: tuple[str, ...]) -> str:
    del at
    return document.name if isinstance(document.name, str) else kebab(document.kind.name)


def _name_and_project(document: YamlDocument, at: tuple[str, ...]) -> str:
    project = document.project if isinstance(document.project, str) else ""
    return "-".join(filter(None, (project, _name(document, at))))


def _name_and_kind(document: YamlDocument, at: tuple[str, ...]) -> str:
    return f"{_name_and_project(document, at)}-{kebab(document.kind.name)}"


def _name_and_field(document: YamlDocument, at: tuple[str, ...]) -> str:
    return f"{_name_and_kind(document, at)}-{'-'.join(at)}"


def _long_texts(document: YamlDocument) -> Iterator[tuple[str, ...]]:
    """The paths of the texts that get files."""
    if not isinstance(document.name, str):
        return
    paths: list[tuple[str, ...]] = []

    def note(text: str, at: tuple[str, ...]) -> str:
        if is_long(text):
            paths.append(at)
        return text

    for declared in document.kind.fields:
        if declared.name in document.spec:
            value = ordered(declared.type, document.spec[declared.name])
            _with_texts(value, (declared.name,), note)
    yield from paths


def is_long(text: str) -> bool:
    """Whether a text gets a file of its own, and reads the same from there."""
    # Files are read without a byte order mark and with `\n` for `\r\n`.
    if "\r" in text or text.startswith("\ufeff"):
        return False
    lines = text.strip("\n").count("\n") + 1
    return lines > LONG_TEXT_LINES or (len(text) > LONG_TEXT_CHARACTERS and " " in text)


def _with_texts(
    value: Any, path: tuple[str, ...], change: Callable[[str, tuple[str, ...]], Any]
) -> Any:
    """The value with each text changed."""
    if isinstance(value, str):
        return change(value, path)
    if isinstance(value, MAP):
        return {key: _with_texts(part, (*path, key), change) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_texts(part, (*path, str(index)), change) for index, part in enumerate(value)]
    return value
