"""Skills: folders of instructions, stored as archives. Versions are immutable; a pointer selects the default one.

Name and description come from the front matter of SKILL.md in the default version.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePosixPath
from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.errors import ErrorAnswer, bad_request, not_found
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Reply, Route, Upload
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import fields, text

_ENTRY = "SKILL.md"
_MOST_FILES = 500
_MOST_BYTES = 50 * 1024 * 1024
_POINT = fields({"default_version": text()})


# --- skills


def list_skills(call: Call) -> dict[str, Any]:
    skills = call.store.collection("skill", call.project_id)
    return call.list_answer(
        skills, page_of(call.query, before=False), render=lambda skill: _show(call, skill)
    )


def create_skill(call: Call) -> dict[str, Any]:
    content, described = _bundle(call, allowed=())
    body = {
        "id": ids.fresh("skill"),
        "object": "skill",
        "created_at": call.now,
        "default_version": "1",
    }
    skill = call.store.add("skill", call.project_id, body, versions=0)
    _add_version(call, skill, content, described)
    return _show(call, skill)


def retrieve_skill(call: Call) -> dict[str, Any]:
    return _show(call, _skill(call))


def update_default_version(call: Call) -> dict[str, Any]:
    skill = _skill(call)
    wanted = call.json(_POINT)["default_version"]
    skill.body["default_version"] = _find_version(call, skill, wanted).body["version"]
    call.store.changed(skill)
    return _show(call, skill)


def delete_skill(call: Call) -> dict[str, Any]:
    skill = _skill(call)
    for version in list(_versions(call, skill)):
        call.store.remove(version)
    return call.removed(skill, "skill.deleted")


def download_skill(call: Call) -> Reply:
    skill = _skill(call)
    return _archive(_find_version(call, skill, skill.body["default_version"]))


# --- versions


def list_versions(call: Call) -> dict[str, Any]:
    return call.list_answer(
        call.store.collection("skill_version", _skill(call).id), page_of(call.query, before=False)
    )


def create_version(call: Call) -> dict[str, Any]:
    skill = _skill(call)
    content, described = _bundle(call, allowed=("default",))
    counts = call.form.get("default", "false")
    if counts not in ("true", "false"):
        raise bad_request(
            f"Invalid value: '{counts}'. Expected a boolean.", param="default", code="invalid_value"
        )
    version = _add_version(call, skill, content, described)
    if counts == "true":
        skill.body["default_version"] = version.body["version"]
        call.store.changed(skill)
    return version.body


def retrieve_version(call: Call) -> dict[str, Any]:
    return _version(call).body


def delete_version(call: Call) -> dict[str, Any]:
    """Delete a version; the default one only if it is the last, which deletes the skill."""
    skill, version = _skill(call), _version(call)
    is_last = len(_versions(call, skill)) == 1
    if not is_last and version.body["version"] == skill.body["default_version"]:
        raise bad_request("The default version of a skill cannot be deleted.", param="version")
    call.store.remove(version)
    if is_last:
        call.store.remove(skill)
    number = version.body["version"]
    return {"id": version.id, "object": "skill.version.deleted", "deleted": True, "version": number}


def download_version(call: Call) -> Reply:
    return _archive(_version(call))


def _add_version(
    call: Call, skill: ObjectRow, content: bytes, described: dict[str, str]
) -> ObjectRow:
    skill.hidden["versions"] += 1
    call.store.changed(skill)
    body = {
        "id": ids.fresh("skill_version"),
        "object": "skill.version",
        "skill_id": skill.id,
        "version": str(skill.hidden["versions"]),
        "created_at": call.now,
        **described,
    }
    return call.store.add("skill_version", skill.id, body, content=content)


def _show(call: Call, skill: ObjectRow) -> dict[str, Any]:
    default = _find_version(call, skill, skill.body["default_version"]).body
    latest = _versions(call, skill)[-1].body["version"]
    return {
        **skill.body,
        "name": default["name"],
        "description": default["description"],
        "latest_version": latest,
    }


def _skill(call: Call) -> ObjectRow:
    return call.path_record("skill", call.project_id, "skill_id", "Skill with id '{id}' not found.")


def _versions(call: Call, skill: ObjectRow) -> list[ObjectRow]:
    return call.store.collection("skill_version", skill.id).ordered()


def _version(call: Call) -> ObjectRow:
    return _find_version(call, _skill(call), call.params["version"])


def _find_version(call: Call, skill: ObjectRow, number: str) -> ObjectRow:
    found = [version for version in _versions(call, skill) if version.body["version"] == number]
    if not found:
        raise not_found(f"Version '{number}' of skill '{skill.id}' not found.", param="version")
    return found[0]


# --- bundles


def _bundle(call: Call, *, allowed: tuple[str, ...]) -> tuple[bytes, dict[str, str]]:
    """Return the archive in a form (one file, or the files of a folder), and the fields of its SKILL.md."""
    uploads: list[Upload] = []
    for name, value in call.form.items():
        if name in allowed:
            continue
        if name.partition("[")[0] != "files":
            raise bad_request(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        if not isinstance(value, Upload):
            raise bad_request(
                "Invalid type for 'files': expected a file.", param="files", code="invalid_type"
            )
        uploads.append(value)
    if not uploads:
        raise bad_request(
            "Missing required parameter: 'files'.", param="files", code="missing_required_parameter"
        )
    is_archive = len(uploads) == 1 and zipfile.is_zipfile(io.BytesIO(uploads[0].content))
    content = uploads[0].content if is_archive else _packed(uploads)
    if len(content) > _MOST_BYTES:
        raise ErrorAnswer(413, "The bundle is larger than 50 MB.", param="files")
    return content, _described(_files_of(content))


def _packed(uploads: list[Upload]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for upload in uploads:
            archive.writestr(upload.filename, upload.content)
    return packed.getvalue()


def _files_of(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {
                one.filename: archive.read(one) for one in archive.infolist() if not one.is_dir()
            }
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError):
        raise _refused("the file is no zip archive") from None


def _described(files: dict[str, bytes]) -> dict[str, str]:
    """Return name and description of a bundle, which must be one folder with a SKILL.md."""
    if len(files) > _MOST_FILES:
        raise _refused(f"at most {_MOST_FILES} files are allowed")
    paths = [PurePosixPath(name) for name in files]
    if any(path.is_absolute() or ".." in path.parts or len(path.parts) < 2 for path in paths):
        raise _refused("every file must be in one folder")
    if len({path.parts[0] for path in paths}) != 1:
        raise _refused("all files must be below one folder")
    entry = files.get(f"{paths[0].parts[0]}/{_ENTRY}")
    if entry is None:
        raise _refused(f"the folder has no {_ENTRY}")
    found = _front_matter(entry.decode("utf-8", errors="replace"))
    for name in ("name", "description"):
        if not found.get(name):
            raise _refused(f"the front matter of {_ENTRY} has no {name}")
    return {"name": found["name"], "description": found["description"]}


def _front_matter(content: str) -> dict[str, str]:
    """Return the front matter of a file as pairs; indented lines continue the previous one."""
    first, *rest = content.splitlines() or [""]
    if first.strip() != "---" or "---" not in rest:
        raise _refused(f"{_ENTRY} does not begin with front matter")
    found: dict[str, str] = {}
    name = ""
    for line in rest[: rest.index("---")]:
        if line[:1].isspace() and name:
            found[name] = f"{found[name].strip('>|-')} {line.strip()}".strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            found[name] = value.strip().strip("\"'")
    return found


def _refused(why: str) -> ErrorAnswer:
    return bad_request(f"Invalid skill bundle: {why}.", param="files", code="invalid_value")


def _archive(version: ObjectRow) -> Reply:
    name = f'attachment; filename="{version.body["skill_id"]}-{version.body["version"]}.zip"'
    return Reply(version.hidden["content"], "application/zip", {"content-disposition": name})


_ALL = "/skills"
_ONE = f"{_ALL}/{{skill_id}}"
_VERSIONS = f"{_ONE}/versions"
_VERSION = f"{_VERSIONS}/{{version}}"
ROUTES = (
    Route("GET", _ALL, list_skills, Access.PROJECT),
    Route("POST", _ALL, create_skill, Access.PROJECT, takes_form=True),
    Route("GET", _ONE, retrieve_skill, Access.PROJECT),
    Route("POST", _ONE, update_default_version, Access.PROJECT),
    Route("DELETE", _ONE, delete_skill, Access.PROJECT),
    Route("GET", f"{_ONE}/content", download_skill, Access.PROJECT),
    Route("GET", _VERSIONS, list_versions, Access.PROJECT),
    Route("POST", _VERSIONS, create_version, Access.PROJECT, takes_form=True),
    Route("GET", _VERSION, retrieve_version, Access.PROJECT),
    Route("DELETE", _VERSION, delete_version, Access.PROJECT),
    Route("GET", f"{_VERSION}/content", download_version, Access.PROJECT),
)
