"""A real API server of Kubernetes with an etcd of its own, for tests.

    def test_something(cluster: Cluster, namespace: str) -> None:
        cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", …})      # as the administrator
        path = cluster.kubeconfig(cluster.token_of(namespace, "operator"))     # RBAC as in production
        with cluster.audited() as audit:
            …
        assert audit.count(user=account_name(namespace, "operator")) <= 3

Both start once per process of pytest, when a test first asks for them, and die with it. There is no controller manager
and no kubelet. So a namespace is never deleted (each test has one of its own instead), objects whose owner is gone stay,
a namespace has no ServiceAccount `default`, nothing runs, and no Deployment makes a Pod.
"""

from __future__ import annotations

import atexit
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from tests.servers import kube_programs
from tests.servers.postgres import HOST, START_SECONDS, free_port
from tests.waiting import wait_for

ISSUER = "https://kubernetes.default.svc"
ADMIN_TOKEN = "token-of-the-administrator-of-these-tests"
ADMIN = "administrator-of-these-tests"
LONGEST_COMMAND_SECONDS = 60

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver"]},
        {"level": "Metadata"},
    ],
}
_numbers = itertools.count(1)


def account_name(namespace: str, account: str) -> str:
    """The user that a ServiceAccount is, as in RBAC and in the audit log."""
    return f"system:serviceaccount:{namespace}:{account}"


@dataclass(frozen=True)
class Request:
    """A request that the API server answered, or a watch that it began."""

    user: str
    verb: str
    resource: str
    """In the plural; with a subresource, `RESOURCE/SUBRESOURCE`. Empty for a path such as `/readyz`."""
    namespace: str
    name: str
    uri: str
    status: int


@dataclass
class Audit:
    """The requests of some time, in the order in which they were answered."""

    requests: list[Request] = field(default_factory=list)

    def of(self, **wanted: Any) -> list[Request]:
        """Those whose fields have these values, for example `user=…, verb="watch"`."""
        return [
            request
            for request in self.requests
            if all(getattr(request, name) == value for name, value in wanted.items())
        ]

    def count(self, **wanted: Any) -> int:
        """How many those are."""
        return len(self.of(**wanted))


@dataclass(frozen=True)
class Ended:
    """What a command of kubectl left behind."""

    code: int
    out: str
    err: str


class Cluster:
    """The API server and its etcd. Ports and data survive `restart`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kube-"))
        self._etcd_port, self._peer_port, self._port = free_port(), free_port(), free_port()
        self._etcd: subprocess.Popen[bytes] | None = None
        self._apiserver: subprocess.Popen[bytes] | None = None
        self._http: httpx.Client | None = None

    @property
    def address(self) -> str:
        """The URL of the API server."""
        return f"https://{HOST}:{self._port}"

    @property
    def port(self) -> int:
        """The port of the API server."""
        return self._port

    @property
    def ca(self) -> Path:
        """The file of the certificates that the API server is verified with."""
        return self.folder / "certs" / "apiserver.crt"

    @property
    def signing_key(self) -> Path:
        """The private key of tokens of ServiceAccounts, for tokens that the API would not give."""
        return self.folder / "accounts.key"

    @property
    def is_running(self) -> bool:
        """Whether the process of the API server lives."""
        return self._apiserver is not None and self._apiserver.poll() is None

    # --- starting and stopping

    def start(self) -> Cluster:
        """Start both, and wait until the API server is ready."""
        self._write_files()
        self._start_etcd()
        self.start_apiserver()
        return self

    def close(self) -> None:
        """Stop both, and delete all data."""
        self.stop_apiserver()
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait(START_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def restart(self) -> None:
        """Kill the API server, and start it again on the same port with the same data."""
        self.stop_apiserver()
        self.start_apiserver()

    def stop_apiserver(self) -> None:
        """Kill the API server; safe to call twice."""
        if self._http is not None:
            self._http.close()
            self._http = None
        if self._apiserver is not None:
            self._apiserver.kill()
            self._apiserver.wait(START_SECONDS)
            self._apiserver = None

    def start_apiserver(self) -> None:
        """Start the API server with the data of before, and wait until it is ready."""
        self._apiserver = self._spawn(
            "apiserver",
            kube_programs.apiserver_program(),
            f"--etcd-servers=http://{HOST}:{self._etcd_port}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            f"--secure-port={self._port}",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--service-account-issuer={ISSUER}",
            "--service-account-key-file=accounts.pub",
            f"--service-account-signing-key-file={self.signing_key}",
            "--cert-dir=certs",
            "--token-auth-file=tokens.csv",
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
            "--audit-policy-file=audit-policy.json",
            f"--audit-log-path={self.folder / 'audit.log'}",
            "--profiling=false",
        )
        self._wait_until_ready()

    def _start_etcd(self) -> None:
        client, peer = f"http://{HOST}:{self._etcd_port}", f"http://{HOST}:{self._peer_port}"
        self._etcd = self._spawn(
            "etcd",
            kube_programs.etcd_program(),
            "--unsafe-no-fsync",
            *("--data-dir", "etcd"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        )

    def _write_files(self) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.signing_key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        (self.folder / "accounts.pub").write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        (self.folder / "tokens.csv").write_text(f"{ADMIN_TOKEN},{ADMIN},1,system:masters\n")
        (self.folder / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))

    def _spawn(self, name: str, *command: str | Path) -> subprocess.Popen[bytes]:
        words = [str(word) for word in command]
        if shutil.which("setpriv"):  # on Linux: it ends with us, even if we are killed
            words = ["setpriv", "--pdeathsig", signal.SIGKILL.name.removeprefix("SIG"), *words]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            process = self._apiserver
            if time.monotonic() > deadline or process is None or process.poll() is not None:
                logs = [(self.folder / f"{name}.log").read_text() for name in ("etcd", "apiserver")]
                raise AssertionError("\n".join(log[-5000:] for log in logs))
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        if not self.ca.exists():  # written at the first start
            return False
        try:
            return self.call("GET", "/readyz").status_code == 200
        except (
            httpx.TransportError,
            OSError,
        ):  # nothing listens, or the certificate is half written
            return False

    # --- requests

    def call(
        self, method: str, path: str, body: Any = None, *, token: str = ADMIN_TOKEN, **more: Any
    ) -> httpx.Response:
        """Send a request to the API server, by default as the administrator."""
        if self._http is None:
            import ssl

            trust = ssl.create_default_context(cafile=str(self.ca))
            self._http = httpx.Client(verify=trust, trust_env=False, timeout=30)
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        url = f"{self.address}{path}"
        return self._http.request(method, url, json=body, headers=headers, **more)

    def get(self, path: str) -> Any:
        """The JSON of an object or a list, which must exist."""
        return self.call("GET", path).raise_for_status().json()

    def kubectl(
        self,
        *arguments: str,
        token: str = ADMIN_TOKEN,
        input: str | None = None,
        expect: int | None = 0,
    ) -> Ended:
        """Run kubectl; with `expect`, insist on the exit code."""
        ended = subprocess.run(
            [str(kube_programs.kubectl_program()), *arguments],
            input=input,
            env={
                "KUBECONFIG": str(self.kubeconfig(token)),
                "HOME": str(self.folder),
                "PATH": os.environ["PATH"],
            },
            capture_output=True,
            text=True,
            timeout=LONGEST_COMMAND_SECONDS,
            check=False,
        )
        if expect is not None:
            assert ended.returncode == expect, f"{arguments}: {ended.stdout}{ended.stderr}"
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects, as `kubectl apply` does."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", input=json.dumps(items))

    # --- namespaces, accounts and their credentials

    def create_namespace(self, prefix: str = "test", labels: Mapping[str, str] = {}) -> str:
        """A new, empty namespace."""
        name = f"{prefix}-{next(_numbers)}"
        metadata = {"name": name, "labels": dict(labels)}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.call("POST", "/api/v1/namespaces", body).raise_for_status()
        return name

    def create_account(
        self, namespace: str, name: str, rules: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """A ServiceAccount that may do in its namespace what the rules allow; gives a token of it."""
        metadata = {"name": name, "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        api = "rbac.authorization.k8s.io/v1"
        self.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": list(rules)},
            {
                "apiVersion": api,
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": role,
                "subjects": [subject],
            },
        )
        token = self.token_of(namespace, name)
        if rules:
            self.wait_until_allowed(token, namespace, rules[0])
        return token

    def can(self, token: str, verb: str, resource: str, **where: str) -> bool:
        """Whether whom a token belongs to may do something: `namespace`, `name`, `group`, `subresource`."""
        attributes = {"verb": verb, "resource": resource, **where}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self.call("POST", path, body, token=token).raise_for_status()
        return bool(answer.json()["status"]["allowed"])

    def wait_until_allowed(
        self, token: str, namespace: str, rule: Mapping[str, Any], is_allowed: bool = True
    ) -> None:
        """Wait until the API server has noticed that a role was given, or taken away: it caches them."""
        where = {"namespace": namespace, "group": rule["apiGroups"][0]}
        if rule.get("resourceNames"):
            where["name"] = rule["resourceNames"][0]
        wait_for(
            lambda: self.can(token, rule["verbs"][0], rule["resources"][0], **where) == is_allowed,
            seconds=START_SECONDS,
            explain=lambda: f"{rule} is not noticed",
            pause=0.01,
        )

    def token_of(self, namespace: str, account: str, seconds: int = 3600) -> str:
        """A token of a ServiceAccount, as a Pod gets one; the API gives none below 600 seconds."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = self.call("POST", path, body).raise_for_status()
        return str(answer.json()["status"]["token"])

    def minted_token(self, namespace: str, account: str, *, expires_at: float) -> str:
        """A token that the API would not give, such as one that has expired, signed with the same key."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}"
        uid = self.get(path)["metadata"]["uid"]
        claims = {
            "iss": ISSUER,
            "aud": [ISSUER],
            "iat": int(expires_at) - 3600,
            "nbf": int(expires_at) - 3600,
            "exp": int(expires_at),
            "sub": account_name(namespace, account),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": account, "uid": uid},
            },
        }
        return _signed(claims, self.signing_key)

    def kubeconfig(self, token: str, *, namespace: str = "default") -> Path:
        """A kubeconfig of whom a token belongs to. Equal arguments give the same file."""
        unique = uuid.uuid5(uuid.NAMESPACE_OID, f"{token} {namespace}")
        path = self.folder / f"kubeconfig-{unique}"
        if not path.exists():
            server = {"server": self.address, "certificate-authority": str(self.ca)}
            context = {"cluster": "tests", "user": "tester", "namespace": namespace}
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "tests",
                "contexts": [{"name": "tests", "context": context}],
                "clusters": [{"name": "tests", "cluster": server}],
                "users": [{"name": "tester", "user": {"token": token}}],
            }
            path.write_text(json.dumps(config))
            path.chmod(0o600)
        return path

    # --- what was asked

    @contextmanager
    def audited(self) -> Iterator[Audit]:
        """All requests that are sent and answered within the block; they are known at its end.

        A watch is one request. The log may have it long after it was sent, with its first event.
        """
        start, began_at = self._audit_mark()
        audit = Audit()
        yield audit
        end, _ = self._audit_mark()
        audit.requests = list(self._requests(start, end, began_at))

    def _audit_mark(self) -> tuple[int, str]:
        """The present end of the log and the time, by a request that no other can be confused with."""
        marker = uuid.uuid4().hex
        self.call("GET", f"/version?marker={marker}")

        def read() -> tuple[int, str] | None:
            log = (self.folder / "audit.log").read_bytes()
            at = log.find(marker.encode())
            if at >= 0 and (end := log.find(b"\n", at) + 1):
                event = json.loads(log[log.rfind(b"\n", 0, at) + 1 : end])
                return end, event["requestReceivedTimestamp"]
            return None

        mark = wait_for(
            read,
            seconds=START_SECONDS,
            explain=lambda: "the audit log has no new requests",
            pause=0.01,
        )
        assert mark is not None
        return mark

    def _requests(self, start: int, end: int, began_at: str) -> Iterator[Request]:
        seen = set()
        for line in (self.folder / "audit.log").read_bytes()[start:end].splitlines():
            event = json.loads(line)
            if event["requestReceivedTimestamp"] < began_at or "marker=" in event["requestURI"]:
                continue
            if event["auditID"] in seen:
                continue  # a watch is logged when it begins and when it ends
            seen.add(event["auditID"])
            yield _request_of(event)


def _request_of(event: Mapping[str, Any]) -> Request:
    target = event.get("objectRef") or {}
    parts = (target.get("resource"), target.get("subresource"))
    return Request(
        user=event["user"].get("username", ""),
        verb=event["verb"],
        resource="/".join(part for part in parts if part),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        uri=event["requestURI"],
        status=(event.get("responseStatus") or {}).get("code", 0),
    )


def _signed(claims: Mapping[str, Any], key_file: Path) -> str:
    """A JSON Web Token with RS256."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@cache
def running_cluster() -> Cluster:
    """The cluster of this process, which ends with it."""
    cluster = Cluster()
    atexit.register(cluster.close)
    return cluster.start()
