"""Delivers keys to HashiCorp Vault and OpenBao: secrets engines of the type KV version 2.

A path belongs to one key. Its owner is in the custom metadata of the path, which can be read
without the secret, and is written before the first version. Each version is written with
check-and-set, so a write between our look and our write is noticed and never overwritten.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from msgspec import Struct

from reconciler.errors import SinkError, UncertainDeliveryError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Object, Property, Text, Type
from reconciler.secrets.drivers.fields import secret_in
from reconciler.secrets.drivers.paths import credential, needed, normal_path, setting
from reconciler.secrets.http import SinkHttp, SinkResponse, errors_in, fields_of
from reconciler.secrets.once import Once

OWNER = "reconciler-owner"
"""The key of the custom metadata that names the owner of a path."""

_FIELD = "value"
_WRITES = ({"create", "update"}, {"root"})


class _Mount(Struct, frozen=True):
    """A path split into the mount of its secrets engine and the rest."""

    mount: str
    path: str

    @property
    def data(self) -> str:
        return f"{self.mount}/data/{self.path}"

    @property
    def metadata(self) -> str:
        return f"{self.mount}/metadata/{self.path}"

    @property
    def destroy(self) -> str:
        return f"{self.mount}/destroy/{self.path}"


class VaultSink:
    """Secrets of a KV engine, version 2.

    A long class: Vault shows a secret in three calls (mount, metadata, data), and each has answers
    of its own for what a policy hides or somebody else has changed.
    """

    name: ClassVar[str] = "vault"
    description: ClassVar[str] = (
        "A secret in a KV engine (version 2) of HashiCorp Vault or OpenBao, at VAULT_ADDR."
    )
    type: ClassVar[Type] = Object(
        (
            Property(
                "path",
                Text(min_length=1),
                "The mount and the path of the secret, such as `secret/search/indexer`.",
                required=True,
            ),
            Property(
                "field",
                Text(min_length=1),
                "The field of the secret that holds the key.",
                default=_FIELD,
            ),
        )
    )
    keeps_versions: ClassVar[bool] = True
    reads_back: ClassVar[bool] = True

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._connection = Once[SinkHttp]()
        self._mounts: dict[str, _Mount] = {}

    @staticmethod
    def place(target: Any) -> str:
        """`vault:MOUNT/PATH`: fields of one secret would overwrite each other."""
        return f"vault:{normal_path(target['path'], what='HashiCorp Vault')}"

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError where no version could be written. Reads metadata and permissions only."""
        mount = self._mount(target)
        self._require_writable(mount)
        self._require_ours(mount, self._metadata(mount), owner)

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:  # noqa: ARG002 - check-and-set is enough
        """Write a version, and return its number."""
        mount = self._mount(target)
        metadata = self._metadata(mount)
        self._require_ours(mount, metadata, owner)
        if metadata is None or _owner_of(metadata) != owner:
            self._claim(mount, owner)
        # With `cas`, Vault refuses the write if somebody else has written since: 0 stands for a path
        # without versions.
        version = int((metadata or {}).get("current_version") or 0)
        data = {target.get("field", _FIELD): secret.reveal()}
        answer = self._http.send(
            "POST", mount.data, json_body={"data": data, "options": {"cas": version}}
        )
        if answer.status == 200:
            return {"version": int(answer.body["data"]["version"])}
        if answer.status == 400 and "check-and-set" in errors_in(answer.body):
            return self._after_conflict(mount, data)
        raise self._refused(answer, f"write {mount.data}", "create and update", mount.data)

    def read(self, target: Any, *, owner: str) -> Secret | None:
        """The key of the current version."""
        mount = self._mount(target)
        metadata = self._metadata(mount)
        if metadata is None or not self._is_ours(mount, metadata, owner):
            return None
        return self.fetch(target)

    def fetch(self, target: Any) -> Secret | None:
        """The field of the current version, of any owner; None if there is none."""
        _, content = self._current(self._mount(target))
        return secret_in(content.get(target.get("field", _FIELD)))

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Delete the secret if its current version is that of the receipt, else that version.

        Without a receipt, all versions that an interrupted `put` wrote after the recorded one are
        destroyed.
        """
        mount = self._mount(target)
        metadata = self._metadata(mount)
        if metadata is None or not self._is_ours(mount, metadata, owner):
            return
        recorded = self._context.receipt(self.place(target), owner) or {}
        current = int(metadata.get("current_version") or 0)
        last = int(recorded.get("version") or 0)
        # To delete the metadata deletes all versions, also those before the key.
        if receipt.get("version") == current or (not receipt and not last):
            answer = self._http.send("DELETE", mount.metadata)
            action, path = f"delete {mount.metadata}", mount.metadata
        else:
            versions = list(range(last + 1, current + 1))
            if receipt:
                versions = [receipt["version"]]
            answer = self._http.send("POST", mount.destroy, json_body={"versions": versions})
            action, path = f"destroy versions of {mount.path}", mount.destroy
        if answer.status not in (200, 204, 404):
            raise self._refused(answer, action, "update and delete", path)

    # --- reading

    def _mount(self, target: Any) -> _Mount:
        path = normal_path(target["path"], what="HashiCorp Vault")
        with self._lock:
            if path in self._mounts:
                return self._mounts[path]
        # The route of Vault's own clients: any token may ask it about paths that it can use. A mount
        # can have slashes, so the path alone does not tell where it ends.
        answer = self._http.get(f"sys/internal/ui/mounts/{path}")
        if answer.status != 200:
            hint = (
                "check that VAULT_TOKEN is valid, and that its policy covers the path; else enable "
                f"a KV engine (version 2) at {path.partition('/')[0]}"
            )
            raise self._refused(answer, f"find a secrets engine for {path}", "", "", hint=hint)
        data = answer.body.get("data") or {}
        mount = str(data.get("path") or "").strip("/")
        options = data.get("options") or {}
        if data.get("type") not in ("kv", "generic") or str(options.get("version")) != "2":
            raise SinkError(
                f'"{path}" is in the engine {mount}/ of {self._http.server}, which is not KV '
                "version 2",
                hint=f"use another mount, or run: vault kv enable-versioning {mount}",
            )
        rest = path.removeprefix(mount).strip("/")
        if not rest or not path.startswith(f"{mount}/"):
            raise SinkError(f'"{path}" names the engine and no secret', hint=f"write {mount}/NAME")
        with self._lock:
            self._mounts[path] = _Mount(mount, rest)
            return self._mounts[path]

    def _metadata(self, mount: _Mount) -> Mapping[str, Any] | None:
        """The metadata of a path, None if there is no such path."""
        answer = self._http.get(mount.metadata)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._refused(answer, f"read {mount.metadata}", "read", mount.metadata)
        return fields_of(answer.body.get("data"))

    def _current(self, mount: _Mount) -> tuple[int, Mapping[str, Any]]:
        """The number of the current version and its content; 0 and nothing if it was deleted."""
        answer = self._http.get(mount.data)
        if answer.status == 404:
            return 0, {}
        if answer.status != 200:
            raise self._refused(answer, f"read {mount.data}", "read", mount.data)
        data = answer.body["data"]
        return int(data["metadata"]["version"]), data.get("data") or {}

    # --- writing

    def _claim(self, mount: _Mount, owner: str) -> None:
        """Write the owner of a path that does not exist yet, or that had another name."""
        body = {"custom_metadata": {OWNER: owner}}
        answer = self._http.send("POST", mount.metadata, json_body=body)
        if answer.status not in (200, 204):
            raise self._refused(
                answer, f"write {mount.metadata}", "create and update", mount.metadata
            )

    def _after_conflict(self, mount: _Mount, data: Mapping[str, Any]) -> Receipt:
        """The receipt if the version that was in the way is our own write, whose answer was lost."""
        try:
            version, content = self._current(mount)
        except SinkError as error:
            raise UncertainDeliveryError(
                f"{mount.data} changed while the key was written, and cannot be read: {error}",
                hint=error.hint,
            ) from error
        if content == data:
            return {"version": version}
        raise SinkError(
            f'"{mount.mount}/{mount.path}" was changed by somebody else while the key was written',
            hint="run the same command again",
        )

    def _require_writable(self, mount: _Mount) -> None:
        paths = [mount.data, mount.metadata]
        answer = self._http.send(
            "POST", "sys/capabilities-self", json_body={"paths": paths}, is_write=False
        )
        # A token need not be able to ask. Then the write shows it.
        if answer.status != 200:
            return
        for path in paths:
            capabilities = set(answer.body.get(path) or ())
            if not any(needed <= capabilities for needed in _WRITES):
                raise SinkError(
                    f"the token for {self._http.server} cannot write {path}",
                    hint=f'give it a policy with: path "{path}" '
                    '{ capabilities = ["create", "update", "read", "delete"] }',
                )

    def _require_ours(self, mount: _Mount, metadata: Mapping[str, Any] | None, owner: str) -> None:
        if metadata is None:
            return
        holder = _owner_of(metadata)
        whole = f"{mount.mount}/{mount.path}"
        if not holder:
            raise SinkError(
                f'"{whole}" exists in {self._http.server} and was not written by reconciler, so it '
                "is not overwritten",
                hint="choose another path, or delete the secret with its metadata",
            )
        if not self._is_ours(mount, metadata, owner):
            raise SinkError(
                f'"{whole}" holds the key of {holder}, which would be lost',
                hint=f"choose another path, or delete the secret if {holder} no longer exists",
            )

    def _is_ours(self, mount: _Mount, metadata: Mapping[str, Any], owner: str) -> bool:
        """Whether the path is this owner's, also if it had another name when the state last saw
        it."""
        receipt = self._context.receipt(f"vault:{mount.mount}/{mount.path}", owner)
        is_recorded = receipt is not None and receipt.get("version") == metadata.get(
            "current_version"
        )
        return _owner_of(metadata) == owner or (bool(_owner_of(metadata)) and is_recorded)

    def _refused(
        self, answer: SinkResponse, action: str, capabilities: str, path: str, *, hint: str = ""
    ) -> SinkError:
        http = self._http
        explanation = http.explanation(answer)
        message = f"{http.server} refuses to {action} (status {answer.status}{explanation})"
        if answer.status == 403 and path:
            hint = f"check VAULT_TOKEN, and that its policy grants {capabilities} on {path}"
        elif answer.status in (301, 302, 307, 308):
            hint = "set VAULT_ADDR to the active node: redirects are not followed"
        return SinkError(message, hint=hint or "correct the path in write_to")

    # --- the connection

    @property
    def _http(self) -> SinkHttp:
        return self._connection.get(self._connect)

    def _connect(self) -> SinkHttp:
        context, env = self._context, self._context.env
        address = needed(env, "VAULT_ADDR", "BAO_ADDR", what="The address of Vault")
        if setting(env, "VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY").lower() in ("1", "true", "t"):
            raise SinkError(
                "VAULT_SKIP_VERIFY is set, and keys are not sent to a server that is not verified",
                hint="unset it, and set VAULT_CACERT to the certificate of the server's authority",
            )
        namespace = setting(env, "VAULT_NAMESPACE", "BAO_NAMESPACE")
        headers = {"X-Vault-Token": _token(context), "X-Vault-Request": "true"}
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        client = context.connect(
            f"{address.rstrip('/')}/v1",
            variable="VAULT_ADDR",
            headers=headers,
            ca=setting(env, "VAULT_CACERT", "BAO_CACERT", "VAULT_CAPATH", "BAO_CAPATH") or None,
            client_certificate=_client_certificate(env),
        )
        return SinkHttp(client, context, f"Vault at {address}", message_of=errors_in)


def _token(context: SinkContext) -> str:
    if not setting(context.env, "VAULT_TOKEN", "BAO_TOKEN"):
        # `vault login` writes the token there.
        file = Path(context.env.get("HOME") or "/nonexistent") / ".vault-token"
        try:
            stored = {"VAULT_TOKEN": file.read_text(encoding="utf-8")}
        except (OSError, UnicodeDecodeError):
            stored = {}
        return credential(stored, context.redactor, "VAULT_TOKEN", what="The token for Vault")
    return credential(
        context.env, context.redactor, "VAULT_TOKEN", "BAO_TOKEN", what="The token for Vault"
    )


def _client_certificate(env: Mapping[str, str]) -> tuple[bytes, bytes] | None:
    paths = [setting(env, "VAULT_CLIENT_CERT"), setting(env, "VAULT_CLIENT_KEY")]
    if not all(paths):
        return None
    try:
        certificate, key = (Path(path).read_bytes() for path in paths)
    except OSError as error:
        raise SinkError(
            f"the client certificate for Vault cannot be read: {error}",
            hint="correct VAULT_CLIENT_CERT and VAULT_CLIENT_KEY",
        ) from error
    return certificate, key


def _owner_of(metadata: Mapping[str, Any]) -> str:
    return str((metadata.get("custom_metadata") or {}).get(OWNER) or "")
