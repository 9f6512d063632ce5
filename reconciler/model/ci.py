"""Reads the origin of a run from the variables that CI systems set.

The values are untrusted: a pull request may choose the author of a commit, and a Git remote may
contain a token. So they are cut, made printable, and stripped of credentials before they are stored
or printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from msgspec import Struct

from reconciler.model.run_origin import RunOrigin
from reconciler.model.secret import Redactor

LONGEST_NAME = 200
LONGEST_URL = 1000

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_VARIABLE = re.compile(r"\{(\w+)\}")
_HOST = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_QUERY = re.compile(r"[?#]")
_SSH_HOST = re.compile(r"^([^/:]+):(?![0-9]+/)/?")
_URL_CHARACTERS = "%/:@[]!$&'()*+,;=~"


class CiSystem(Struct, frozen=True):
    """Which variables a CI system sets.

    `marker` is set in every job. The others are templates of `{VARIABLE}`: of several, the first
    one whose variables are all set counts.
    """

    name: str
    marker: str
    actor: tuple[str, ...]
    repository: tuple[str, ...]
    commit: tuple[str, ...]
    url: tuple[str, ...]


CI_SYSTEMS = (
    CiSystem(
        "GitHub Actions",
        "GITHUB_ACTIONS",
        # The triggering actor runs the job again; the actor is the one who ran it first.
        actor=("{GITHUB_TRIGGERING_ACTOR}", "{GITHUB_ACTOR}"),
        repository=("{GITHUB_REPOSITORY}",),
        commit=("{GITHUB_SHA}",),
        url=("{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",),
    ),
    CiSystem(
        "GitLab CI",
        "GITLAB_CI",
        actor=("{GITLAB_USER_LOGIN}",),
        repository=("{CI_PROJECT_PATH}",),
        commit=("{CI_COMMIT_SHA}",),
        url=("{CI_JOB_URL}", "{CI_PIPELINE_URL}"),
    ),
    CiSystem(
        "Jenkins",
        "JENKINS_URL",
        # Set by the plugin "Build User Vars". Jenkins itself has no variable for the person.
        actor=("{BUILD_USER_ID}", "{BUILD_USER}"),
        repository=("{GIT_URL}", "{GIT_URL_1}"),
        commit=("{GIT_COMMIT}",),
        url=("{BUILD_URL}",),
    ),
    CiSystem(
        "Buildkite",
        "BUILDKITE",
        # The person who releases a block step decides that the steps after it run.
        actor=("{BUILDKITE_UNBLOCKER}", "{BUILDKITE_BUILD_CREATOR}"),
        repository=("{BUILDKITE_REPO}",),
        commit=("{BUILDKITE_COMMIT}",),
        url=("{BUILDKITE_BUILD_URL}",),
    ),
    CiSystem(
        "Azure Pipelines",
        "TF_BUILD",
        actor=("{BUILD_REQUESTEDFOR}",),
        repository=("{BUILD_REPOSITORY_NAME}", "{BUILD_REPOSITORY_URI}"),
        commit=("{BUILD_SOURCEVERSION}",),
        # The address of the collection ends with a slash.
        url=("{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}",),
    ),
    CiSystem(
        "CircleCI",
        "CIRCLECI",
        actor=("{CIRCLE_USERNAME}",),
        repository=(
            "{CIRCLE_PROJECT_USERNAME}/{CIRCLE_PROJECT_REPONAME}",
            "{CIRCLE_REPOSITORY_URL}",
        ),
        commit=("{CIRCLE_SHA1}",),
        url=("{CIRCLE_BUILD_URL}",),
    ),
)


def run_origin(env: Mapping[str, str], *, user: str, host: str) -> RunOrigin:
    """The origin of a run with these variables, of an account on a machine."""
    origin = RunOrigin(user=_name(user), host=_name(host))
    for system in CI_SYSTEMS:
        if env.get(system.marker):
            return _ci_origin(system, env, origin)
    return origin


def _ci_origin(system: CiSystem, env: Mapping[str, str], origin: RunOrigin) -> RunOrigin:
    return RunOrigin(
        user=origin.user,
        host=origin.host,
        ci=system.name,
        actor=_name(_filled(system.actor, env)),
        repository=_name(_without_address(_filled(system.repository, env))),
        commit=_name(_filled(system.commit, env)),
        url=_safe_url(_filled(system.url, env, spelled=_url_part)),
    )


def _filled(
    templates: tuple[str, ...], env: Mapping[str, str], *, spelled: Callable[[str], str] = str
) -> str:
    for template in templates:
        values = {}
        for name in _VARIABLE.findall(template):
            values[name] = spelled(env.get(name, "").strip())
        if all(values.values()):
            return template.format_map(values)
    return ""


def _name(text: str) -> str:
    """`text` on one line of printable characters, at most `LONGEST_NAME`, keys masked."""
    # Keys first, because a key that is cut no longer has the shape of one.
    text = Redactor()(text)
    if len(text) > LONGEST_NAME:
        text = f"{text[: LONGEST_NAME - 1]}…"
    characters = (char if char.isprintable() else _REPLACEMENT for char in text)
    return "".join(characters)


def _without_address(repository: str) -> str:
    """A repository's name, or the host and path of its remote, without scheme and credentials."""
    # Whatever precedes the last "@" may be a password, which may contain any character.
    rest = repository.rpartition("@")[2]
    rest = rest.partition("://")[2] or rest
    rest = _QUERY.split(rest)[0].removesuffix("/").removesuffix(".git")
    return _SSH_HOST.sub(r"\1/", rest, count=1)


def _url_part(value: str) -> str:
    """A value as a URL holds it, without a query: only our templates add one."""
    if not value.isprintable():
        return ""
    return quote(_QUERY.split(value)[0], safe=_URL_CHARACTERS)


def _safe_url(text: str) -> str:
    """An http(s) URL without its credentials; empty for everything else."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    # A password with an unescaped slash ends the host too early, and leaves its "@" in the path.
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or "@" in parts.path:
        return ""
    url = parts._replace(netloc=host).geturl()
    if len(url) > LONGEST_URL or Redactor()(url) != url:
        return ""
    return url
