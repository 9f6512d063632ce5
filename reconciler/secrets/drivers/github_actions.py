"""Delivers keys to GitHub Actions: secrets of a repository, an environment or an organization.

GitHub shows neither the value of a secret nor who wrote it. A secret is ours if it was last updated
at the moment that our receipt names, or if a delivery of ours to it began and its outcome was not
recorded. Values are encrypted for the public key of the repository before they are sent.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from reconciler.errors import SinkError, SinkSetupError, UncertainDeliveryError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Object, Property, Text, Type
from reconciler.secrets.drivers.paths import credential, quoted, setting
from reconciler.secrets.http import SinkHttp, SinkResponse, message_in
from reconciler.secrets.once import Once

_API = "https://api.github.com"
_NAME = re.compile(r"(?!GITHUB_)[A-Za-z_][A-Za-z0-9_]*", re.IGNORECASE)
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/(?!\.+$)[A-Za-z0-9._-]+")
_MOST_SECRETS = {"repository": 100, "environment": 100, "organization": 1000}


class GithubActionsSink:
    """Secrets of GitHub Actions."""

    name: ClassVar[str] = "github_actions"
    description: ClassVar[str] = (
        "A secret of GitHub Actions, in a repository, one of its environments, or an organization."
    )
    type: ClassVar[Type] = Object(
        (
            Property("repository", Text(min_length=1), "The repository as `OWNER/NAME`."),
            Property(
                "organization", Text(min_length=1), "The organization, instead of a repository."
            ),
            Property("environment", Text(min_length=1), "An environment of the repository."),
            Property("name", Text(min_length=1), "The name of the secret.", required=True),
            Property(
                "visibility",
                Text(choices=("all", "private")),
                "Which repositories of the organization may read it.",
                default="private",
            ),
        ),
        exactly_one=("repository", "organization"),
    )
    keeps_versions: ClassVar[bool] = False
    reads_back: ClassVar[bool] = False

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._connection = Once[SinkHttp]()

    @staticmethod
    def place(target: Any) -> str:
        """`github_actions:OWNER/REPOSITORY/NAME`, `…/environments/ENVIRONMENT/NAME` or `ORG/NAME`."""
        name, environment = target["name"], target.get("environment")
        if not _NAME.fullmatch(name):
            raise ValueError(
                f'{quoted(name)} is no name of a GitHub secret: use letters, digits and "_", without a '
                "digit or GITHUB_ at the beginning"
            )
        organization = target.get("organization")
        if organization:
            if environment or not _OWNER.fullmatch(organization):
                raise ValueError(
                    f"{quoted(organization)} is no organization, or has no environments"
                )
            return f"github_actions:{organization.lower()}/{name.upper()}"
        repository = target["repository"]
        if not _REPOSITORY.fullmatch(repository):
            raise ValueError(f"{quoted(repository)} is no repository: write OWNER/NAME")
        if not environment:
            return f"github_actions:{repository.lower()}/{name.upper()}"
        if not environment.isprintable() or environment in (".", ".."):
            raise ValueError(f"{environment!r} is no environment")
        shown = quote(environment.lower(), safe="")
        return f"github_actions:{repository.lower()}/environments/{shown}/{name.upper()}"

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError where GitHub shows that the secret could not be written."""
        # Both can be missing, which would be noticed only after the key was created.
        _sealed_box()
        self._public_key(target)
        secret = self._metadata(target)
        self._require_ours(target, secret, owner)
        if secret is None:
            self._require_room(target)

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:  # noqa: ARG002 - the same value may be written twice
        """Write the secret, and return the time of its update at GitHub."""
        before = self._metadata(target)
        self._require_ours(target, before, owner)
        key = self._public_key(target)
        sealed = _sealed_box()(base64.b64decode(key["key"]), secret.reveal().encode())
        body = {"encrypted_value": base64.b64encode(sealed).decode(), "key_id": key["key_id"]}
        if "organization" in target:
            body["visibility"] = target.get("visibility", "private")
        answer = self._http.send("PUT", self._path(target), json_body=body)
        if answer.status not in (201, 204):
            raise self._refused(answer, target, "write")
        # The answer to a write is empty. The time of the update is the only mark of our write.
        try:
            written = self._metadata(target)
        except SinkError as error:
            raise UncertainDeliveryError(str(error), hint=error.hint) from error
        if written is None:
            raise UncertainDeliveryError(
                f"{self._shown(target)} was written and is not there",
                hint="run the same command again",
            )
        return {"updated_at": written["updated_at"]}

    def read(self, target: Any, *, owner: str) -> Secret | None:  # noqa: ARG002 - GitHub shows no values
        """None: GitHub shows no values."""
        return None

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Delete the secret if it was not updated since the receipt, or since an interrupted `put`."""
        secret = self._metadata(target)
        if secret is None:
            return
        is_ours = self._context.was_begun(self.place(target), owner)
        if receipt:
            is_ours = is_ours or receipt.get("updated_at") == secret["updated_at"]
        else:
            is_ours = is_ours or self._is_recorded(target, secret, owner)
        if not is_ours:
            return
        answer = self._http.send("DELETE", self._path(target))
        if answer.status not in (204, 404):
            raise self._refused(answer, target, "delete")

    # --- reading

    def _metadata(self, target: Any) -> Mapping[str, Any] | None:
        answer = self._http.get(self._path(target))
        if answer.status == 404:
            return None
        if answer.status != 200 or not isinstance(answer.body, Mapping):
            raise self._refused(answer, target, "look up")
        return answer.body

    def _public_key(self, target: Any) -> Mapping[str, str]:
        answer = self._http.get(f"{self._folder(target)}/public-key")
        if answer.status != 200:
            raise self._refused(answer, target, "read the public key for")
        return {"key": str(answer.body["key"]), "key_id": str(answer.body["key_id"])}

    def _require_room(self, target: Any) -> None:
        answer = self._http.get(self._folder(target), params={"per_page": "1"})
        most = _MOST_SECRETS[_level(target)]
        if answer.status == 200 and int(answer.body.get("total_count") or 0) >= most:
            raise SinkError(
                f"{self._shown(target)} cannot be created: there are {most} secrets already, the "
                "most that GitHub allows",
                hint="delete secrets that are not used, or choose another place",
            )

    def _is_recorded(self, target: Any, secret: Mapping[str, Any], owner: str) -> bool:
        receipt = self._context.receipt(self.place(target), owner)
        return receipt is not None and receipt.get("updated_at") == secret["updated_at"]

    def _require_ours(self, target: Any, secret: Mapping[str, Any] | None, owner: str) -> None:
        place = self.place(target)
        if secret is None or self._is_recorded(target, secret, owner):
            return
        # A write of ours that was interrupted may have changed the time.
        if self._context.was_begun(place, owner):
            return
        receipt = self._context.receipt(place, owner)
        problem = "exists and was not written by reconciler"
        if receipt:
            problem = "was changed by somebody else since"
        raise SinkError(
            f"{self._shown(target)} {problem} (updated at {secret['updated_at']}), so it is not "
            "overwritten",
            hint="delete the secret, or choose another name",
        )

    # --- paths and messages

    def _folder(self, target: Any) -> str:
        if "organization" in target:
            return f"orgs/{target['organization']}/actions/secrets"
        if target.get("environment"):
            environment = quote(target["environment"], safe="")
            return f"repos/{target['repository']}/environments/{environment}/secrets"
        return f"repos/{target['repository']}/actions/secrets"

    def _path(self, target: Any) -> str:
        return f"{self._folder(target)}/{target['name']}"

    def _shown(self, target: Any) -> str:
        return f'the secret "{self.place(target).partition(":")[2]}" of GitHub Actions'

    def _refused(self, answer: SinkResponse, target: Any, action: str) -> SinkError:
        explanation = self._http.explanation(answer)
        message = (
            f"{self._http.server} refuses to {action} {self._shown(target)} "
            f"(status {answer.status}{explanation})"
        )
        if answer.status == 401:
            return SinkError(message, hint="set GITHUB_TOKEN to a token that is valid")
        # GitHub answers 404 to a token that may not see the repository.
        if answer.status in (403, 404):
            where = {
                "repository": "the repository's permission Secrets: write",
                "environment": "the repository's permission Environments: write",
                "organization": "the organization's permission Secrets: write",
            }[_level(target)]
            return SinkError(
                message,
                hint=f"correct the target, or give GITHUB_TOKEN {where}; the token that a workflow "
                "gets by itself cannot write secrets",
            )
        return SinkError(message, hint="correct the target in write_to")

    @property
    def _http(self) -> SinkHttp:
        return self._connection.get(self._connect)

    def _connect(self) -> SinkHttp:
        context, env = self._context, self._context.env
        address = setting(env, "GITHUB_API_URL") or _API
        token = credential(
            env, context.redactor, "GITHUB_TOKEN", "GH_TOKEN", what="The token for GitHub"
        )
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        client = context.connect(address, variable="GITHUB_API_URL", headers=headers)
        return SinkHttp(client, context, f"GitHub at {address}", message_of=message_in)


def _level(target: Any) -> str:
    if "organization" in target:
        return "organization"
    if target.get("environment"):
        return "environment"
    return "repository"


def _sealed_box() -> Any:
    """Encrypts for a public key: a function of the key and the content, both bytes."""
    try:
        from nacl.public import PublicKey, SealedBox
    except ImportError:
        raise SinkSetupError(
            "secrets of GitHub are encrypted with the package PyNaCl, which is missing",
            hint="install reconciler with its extra: pip install 'reconciler-iac[github]'",
        ) from None
    return lambda key, content: SealedBox(PublicKey(key)).encrypt(content)
