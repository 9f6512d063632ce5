"""A fake of GitHub's API of Actions secrets, as strict as the real one: it opens each sealed box."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from tests.servers.fake_http import FakeAnswer, FakeRequest, FakeServer

TOKEN = "ghp_" + "t" * 36
READ_ONLY_TOKEN = "ghp_" + "r" * 36
NOT_FOUND = FakeAnswer(404, {"message": "Not Found", "status": "404"})
FORBIDDEN = FakeAnswer(403, {"message": "Resource not accessible by personal access token"})


@dataclass
class _Folder:
    """The secrets of a repository, an environment or an organization, by name: value and times."""

    key: PrivateKey = field(default_factory=PrivateKey.generate)
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def key_id(self) -> str:
        return str(int.from_bytes(bytes(self.key.public_key)[:8], "big"))


class FakeGithub(FakeServer):
    """Knows the repository `acme/search` with the environment `production`, and the organization `acme`."""

    def __init__(self) -> None:
        super().__init__()
        self.folders = {
            "repos/acme/search/actions/secrets": _Folder(),
            "repos/acme/search/environments/production/secrets": _Folder(),
            "orgs/acme/actions/secrets": _Folder(),
        }
        self._seconds = count(1)

    def write(self, folder: str, name: str, value: str, **more: Any) -> None:
        """What somebody else does by hand."""
        minutes, seconds = divmod(next(self._seconds), 60)
        now = f"2026-01-01T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}Z"
        before = self.folders[folder].secrets.get(name, {"created_at": now})
        self.folders[folder].secrets[name] = {**before, **more, "updated_at": now, "value": value}

    def answer(self, request: FakeRequest) -> FakeAnswer:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in (TOKEN, READ_ONLY_TOKEN):
            return FakeAnswer(401, {"message": "Bad credentials"})
        path = "/".join(request.parts)
        for folder_path, folder in self.folders.items():
            if path.lower() == folder_path:
                return self._list(folder)
            if path.lower().startswith(f"{folder_path}/"):
                if request.method != "GET" and token == READ_ONLY_TOKEN:
                    return FORBIDDEN
                return self._secret(request, folder_path, path[len(folder_path) + 1 :])
        return NOT_FOUND

    def _list(self, folder: _Folder) -> FakeAnswer:
        listed = [_shown(name, secret) for name, secret in folder.secrets.items()]
        return FakeAnswer(200, {"total_count": len(listed), "secrets": listed[:30]})

    def _secret(self, request: FakeRequest, path: str, name: str) -> FakeAnswer:
        folder = self.folders[path]
        if name == "public-key" and request.method == "GET":
            key = base64.b64encode(bytes(folder.key.public_key)).decode()
            return FakeAnswer(200, {"key_id": folder.key_id, "key": key})
        name = name.upper()
        if not re.fullmatch(r"(?!GITHUB_)[A-Z_][A-Z0-9_]*", name):
            return FakeAnswer(
                422, {"message": "Secret names can only contain alphanumeric characters"}
            )
        if request.method == "PUT":
            return self._put(request, path, folder, name)
        if name not in folder.secrets:
            return NOT_FOUND
        if request.method == "DELETE":
            del folder.secrets[name]
            return FakeAnswer(204)
        return FakeAnswer(200, _shown(name, folder.secrets[name]))

    def _put(self, request: FakeRequest, path: str, folder: _Folder, name: str) -> FakeAnswer:
        body = request.body
        is_organization = path.startswith("orgs/")
        known = {"encrypted_value", "key_id", *(["visibility"] if is_organization else [])}
        if not isinstance(body, dict) or set(body) != known:
            return FakeAnswer(422, {"message": "Invalid request."})
        if is_organization and body["visibility"] not in ("all", "private"):
            return FakeAnswer(422, {"message": "Invalid visibility"})
        if body["key_id"] != folder.key_id:
            return FakeAnswer(422, {"message": "key_id is not valid"})
        try:
            value = SealedBox(folder.key).decrypt(base64.b64decode(body["encrypted_value"]))
        except (CryptoError, ValueError):
            return FakeAnswer(422, {"message": "Bad request - sealed box could not be opened"})
        is_new = name not in folder.secrets
        if is_new and len(folder.secrets) >= (1000 if is_organization else 100):
            return FakeAnswer(422, {"message": "Exceeded the number of secrets"})
        more = {"visibility": body["visibility"]} if is_organization else {}
        self.write(path, name, value.decode(), **more)
        return FakeAnswer(201 if is_new else 204, {} if is_new else None)


def _shown(name: str, secret: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, **{key: part for key, part in secret.items() if key != "value"}}
