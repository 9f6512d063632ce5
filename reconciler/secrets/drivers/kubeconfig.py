"""Finds the API server of Kubernetes: from KUBECONFIG, from inside the cluster, or ~/.kube/config.

Certificates and tokens are supported. Plugins (`exec`, `auth-provider`) are refused, because a plan
runs no command. A server without certificate verification is refused too.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from reconciler.errors import SinkError, SinkSetupError
from reconciler.secrets.http import fields_of

_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LARGEST_BYTES = 4 << 20


class Cluster(Struct, frozen=True):
    """How to reach an API server. `source` names where that comes from, for messages.

    `token` is the token as of now. One that is in a file is replaced there before it expires.
    """

    server: str
    source: str
    ca: str | bytes | None = None
    token: str = ""
    token_file: Path | None = None
    client_certificate: tuple[bytes, bytes] | None = None

    def __repr__(self) -> str:
        return f"Cluster({self.server})"  # the rest is secret

    def current_token(self) -> str:
        """The token of the next request; empty if there is none. Raises SinkError."""
        if self.token_file is None:
            return self.token
        return _text(self.token_file)


def cluster_of(env: Mapping[str, str]) -> Cluster:
    """The cluster that the environment names. Raises SinkError."""
    paths = [Path(path) for path in env.get("KUBECONFIG", "").split(os.pathsep) if path]
    if paths:
        return _from_file(next((path for path in paths if path.is_file()), paths[0]))
    host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "443")
    if host and _IN_CLUSTER.is_dir():
        if ":" in host:
            host = f"[{host}]"
        return Cluster(
            f"https://{host}:{port}",
            "the service account of this pod",
            ca=str(_IN_CLUSTER / "ca.crt"),
            token=_text(_IN_CLUSTER / "token"),
            token_file=_IN_CLUSTER / "token",
        )
    default = Path(env.get("HOME") or "/nonexistent") / ".kube" / "config"
    if default.is_file():
        return _from_file(default)
    raise SinkSetupError(
        "the cluster of the sink kubernetes is not known: KUBECONFIG is not set, and this is no pod",
        hint="set KUBECONFIG where reconciler runs",
    )


def _from_file(path: Path) -> Cluster:
    config = _loaded(path)
    context = _named(config, "contexts", str(config.get("current-context") or ""), path)
    context = context.get("context") or {}
    cluster = _named(config, "clusters", str(context.get("cluster") or ""), path)
    cluster = cluster.get("cluster") or {}
    user = _named(config, "users", str(context.get("user") or ""), path).get("user") or {}
    server = str(cluster.get("server") or "")
    if cluster.get("insecure-skip-tls-verify") and server.startswith("https:"):
        raise SinkError(
            f"{path} says insecure-skip-tls-verify, and keys are not sent to a server that is not "
            "verified",
            hint="name the certificate-authority of the cluster there",
        )
    for plugin in ("exec", "auth-provider"):
        if user.get(plugin):
            raise SinkError(
                f"the user of the current context in {path} logs in with a program ({plugin}), "
                "which reconciler does not run",
                hint="use a token or a client certificate, for example: kubectl create token NAME",
            )
    return Cluster(
        server,
        str(path),
        ca=_file_or_content(cluster, "certificate-authority", path),
        token=_token(user, path),
        token_file=_resolved_path(user, "tokenFile", path),
        client_certificate=_client_certificate(user, path),
    )


def _loaded(path: Path) -> Mapping[str, Any]:
    try:
        content = path.read_bytes()
        config = yaml.safe_load(content[:_LARGEST_BYTES])
    except (OSError, ValueError, yaml.YAMLError) as error:
        # The content is not repeated: it holds credentials.
        reason = error.strerror if isinstance(error, OSError) else "it is not YAML"
        raise SinkError(
            f"the kubeconfig {path} cannot be read: {reason}", hint="correct KUBECONFIG"
        ) from None
    return fields_of(config)


def _named(config: Mapping[str, Any], kind: str, name: str, path: Path) -> Mapping[str, Any]:
    entries = config.get(kind)
    if isinstance(entries, list):
        for entry in entries:
            if isinstance(entry, Mapping) and str(entry.get("name")) == name:
                return entry
    raise SinkError(
        f'the kubeconfig {path} has no "{name}" in {kind}',
        hint="run: kubectl config use-context NAME",
    )


def _token(user: Mapping[str, Any], path: Path) -> str:
    # Where both are given, kubectl takes the file.
    file = _resolved_path(user, "tokenFile", path)
    if file is None:
        return str(user.get("token") or "")
    return _text(file)


def _client_certificate(user: Mapping[str, Any], path: Path) -> tuple[bytes, bytes] | None:
    certificate, key = (
        _file_or_content(user, "client-certificate", path),
        _file_or_content(user, "client-key", path),
    )
    if certificate is None or key is None:
        return None
    return _content(certificate), _content(key)


def _file_or_content(entry: Mapping[str, Any], name: str, path: Path) -> str | bytes | None:
    """The file that an entry names, or the content that it holds."""
    # Where both are given, kubectl takes the content.
    data = entry.get(f"{name}-data")
    if data:
        try:
            return base64.b64decode(str(data), validate=True)
        except (binascii.Error, ValueError):
            raise SinkError(
                f"{name}-data in {path} is not base64", hint="correct the kubeconfig"
            ) from None
    file = _resolved_path(entry, name, path)
    return None if file is None else str(file)


def _resolved_path(entry: Mapping[str, Any], name: str, path: Path) -> Path | None:
    """The file that an entry names. A relative path is relative to the folder of the kubeconfig."""
    if not entry.get(name):
        return None
    return path.parent / str(entry[name])


def _content(source: str | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise SinkError(f"{source} cannot be read: {error.strerror or error}") from error


def _text(path: Path) -> str:
    return _content(str(path)).decode(errors="replace").strip()
