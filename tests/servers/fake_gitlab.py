"""A fake of GitLab's API of CI/CD variables, with its rules of masking, scopes and names."""

from __future__ import annotations

import re
from typing import Any

from tests.servers.fake_http import FakeAnswer, FakeRequest, FakeServer

TOKEN = "glpat-" + "t" * 20
READ_ONLY_TOKEN = "glpat-" + "r" * 20
_FIELDS = {
    "key", "value", "description", "masked", "masked_and_hidden", "protected", "raw", "environment_scope",
    "variable_type",
}  # fmt: skip
_MASKABLE = re.compile(r"[^\s\\'\"]{8,}")
MOST = 200


class FakeGitlab(FakeServer):
    """Knows the project `acme/search` and the group `acme`."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: dict[str, list[dict[str, Any]]] = {
            "projects/acme/search": [],
            "groups/acme": [],
        }

    def answer(self, request: FakeRequest) -> FakeAnswer:
        token = request.headers.get("private-token") or request.headers.get("job-token")
        if token not in (TOKEN, READ_ONLY_TOKEN):
            return FakeAnswer(401, {"message": "401 Unauthorized"})
        if token == READ_ONLY_TOKEN:
            return FakeAnswer(403, {"message": "403 Forbidden"})
        kind, path, what, *rest = *request.parts, ""
        where = f"{kind}/{path}"
        if where not in self.variables or what != "variables":
            noun = "Project" if kind == "projects" else "Group"
            return FakeAnswer(404, {"message": f"404 {noun} Not Found"})
        if request.method == "POST":
            return self._create(where, request.body)
        return self._one(request, where, rest[0])

    def _one(self, request: FakeRequest, where: str, key: str) -> FakeAnswer:
        scope = request.query.get("filter[environment_scope]")
        matches = [
            variable
            for variable in self.variables[where]
            if variable["key"] == key and scope in (None, variable["environment_scope"])
        ]
        if not matches:
            return FakeAnswer(404, {"message": "404 Variable Not Found"})
        if len(matches) > 1:
            return FakeAnswer(
                409,
                {
                    "message": "There are multiple variables with provided parameters. "
                    "Please use 'filter[environment_scope]'"
                },
            )
        (variable,) = matches
        if request.method == "DELETE":
            self.variables[where].remove(variable)
            return FakeAnswer(204)
        if request.method == "PUT":
            changed = {**variable, **request.body}
            if problem := _problem(changed, request.body):
                return problem
            variable.update(request.body)
        return FakeAnswer(200, _shown(variable))

    def _create(self, where: str, body: dict[str, Any]) -> FakeAnswer:
        variable = {
            "description": None, "masked": False, "protected": False, "raw": False, "environment_scope": "*",
            "variable_type": "env_var", **body,
        }  # fmt: skip
        variable["hidden"] = variable.pop("masked_and_hidden", False)
        if problem := _problem(variable, body):
            return problem
        if len(self.variables[where]) >= MOST:
            return FakeAnswer(
                400, {"message": {"base": [f"Maximum number of variables ({MOST}) exceeded"]}}
            )
        same = ("key", "environment_scope")
        if any(all(one[name] == variable[name] for name in same) for one in self.variables[where]):
            return FakeAnswer(
                400, {"message": {"key": [f"({variable['key']}) has already been taken"]}}
            )
        self.variables[where].append(variable)
        return FakeAnswer(201, _shown(variable))


def _problem(variable: dict[str, Any], body: dict[str, Any]) -> FakeAnswer | None:
    if set(body) - _FIELDS:
        return FakeAnswer(400, {"error": f"{', '.join(set(body) - _FIELDS)} is invalid"})
    if not re.fullmatch(r"[A-Za-z0-9_]{1,255}", str(variable.get("key"))):
        return FakeAnswer(400, {"message": {"key": ["can contain only letters, digits and '_'."]}})
    if len(variable["description"] or "") > 255:
        return FakeAnswer(400, {"message": {"description": ["is too long"]}})
    if variable["masked"] and not _MASKABLE.fullmatch(variable["value"]):
        return FakeAnswer(400, {"message": {"value": ["is invalid"]}})
    if variable.get("hidden") and not variable["masked"]:
        return FakeAnswer(400, {"message": {"masked": ["must be set for hidden variables"]}})
    return None


def _shown(variable: dict[str, Any]) -> dict[str, Any]:
    return {**variable, "value": None if variable["hidden"] else variable["value"]}
