"""Delivers keys to GitLab: CI/CD variables of a project or a group.

The description of a variable names its owner. GitLab shows the value of a variable together with
GitLab shows the value of a variable together with its description to everyone who may write it,
unless the variable is hidden. The value is used only to recognise our own write.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from reconciler.errors import SinkError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Boolean, Object, Property, Text, Type
from reconciler.secrets import digests
from reconciler.secrets.drivers.fields import secret_in
from reconciler.secrets.drivers.paths import credential, normal_path, quoted, setting
from reconciler.secrets.http import SinkHttp, SinkResponse, fields_of
from reconciler.secrets.once import Once

_API = "https://gitlab.com/api/v4"
_NAME = re.compile(r"[A-Za-z0-9_]{1,255}")
_SCOPE = re.compile(r"[A-Za-z0-9_./${} *-]{1,255}")
_EVERYWHERE = "*"
_MARK = "reconciler: "
_LONGEST_DESCRIPTION = 255


class GitlabVariableSink:
    """CI/CD variables of GitLab."""

    name: ClassVar[str] = "gitlab_variable"
    description: ClassVar[str] = "A CI/CD variable of GitLab, in a project or a group."
    type: ClassVar[Type] = Object(
        (
            Property("project", Text(min_length=1), "The project as `GROUP/PROJECT`."),
            Property("group", Text(min_length=1), "The group, instead of a project."),
            Property("name", Text(min_length=1), "The name of the variable.", required=True),
            Property(
                "environment_scope",
                Text(min_length=1),
                "The environments whose jobs get the variable.",
                default=_EVERYWHERE,
            ),
            Property("masked", Boolean(), "Whether job logs mask the value.", default=True),
            Property(
                "hidden",
                Boolean(),
                "Whether GitLab hides the value permanently. Takes effect only at creation.",
                default=False,
            ),
            Property(
                "protected",
                Boolean(),
                "Whether only jobs of protected branches and tags get the variable.",
                default=False,
            ),
        ),
        exactly_one=("project", "group"),
    )
    keeps_versions: ClassVar[bool] = False
    reads_back: ClassVar[bool] = True

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._connection = Once[SinkHttp]()

    @staticmethod
    def place(target: Any) -> str:
        """`gitlab_variable:PATH/NAME`, or `…/environments/SCOPE/NAME`."""
        path = normal_path(target.get("project") or target["group"], what="GitLab").lower()
        name, scope = target["name"], target.get("environment_scope", _EVERYWHERE)
        if not _NAME.fullmatch(name):
            raise ValueError(
                f'{quoted(name)} is no name of a GitLab variable: use at most 255 letters, digits and "_"'
            )
        if not _SCOPE.fullmatch(scope):
            raise ValueError(f"{scope!r} is no environment scope")
        if target.get("hidden") and not target.get("masked", True):
            raise ValueError(f'"{name}" is hidden, so it is masked too: remove "masked: false"')
        if scope == _EVERYWHERE:
            return f"gitlab_variable:{path}/{name}"
        return f"gitlab_variable:{path}/environments/{quote(scope, safe='')}/{name}"

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError where GitLab shows that the variable could not be written."""
        self._require_ours(target, self._variable(target), owner)

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:  # noqa: ARG002 - the value tells whether it arrived
        """Create or change the variable."""
        variable = self._variable(target)
        self._require_ours(target, variable, owner)
        masked = bool(target.get("masked", True))
        body = {
            "value": secret.reveal(),
            "description": _description(owner),
            "masked": masked,
            "protected": bool(target.get("protected", False)),
            # Otherwise GitLab would replace text that looks like a reference to another variable.
            "raw": True,
        }
        if variable is not None:
            answer = self._http.send(
                "PUT", self._path(target), params=self._filter(target), json_body=body
            )
        else:
            scope = target.get("environment_scope", _EVERYWHERE)
            body |= {"key": target["name"], "environment_scope": scope}
            if target.get("hidden"):
                body["masked_and_hidden"] = True
            answer = self._http.send("POST", self._folder(target), json_body=body)
            if answer.status == 400 and "already been taken" in _message(answer.body):
                # Either somebody was faster, or it is our own write, whose answer was lost.
                self._require_ours(target, self._variable(target), owner)
                body = {name: part for name, part in body.items() if name not in _CREATED_WITH}
                answer = self._http.send(
                    "PUT", self._path(target), params=self._filter(target), json_body=body
                )
        if answer.status not in (200, 201):
            raise self._refused(answer, target, "write")
        return {}

    def read(self, target: Any, *, owner: str) -> Secret | None:
        """The value; None for a hidden variable."""
        variable = self._variable(target)
        if variable is None or not self._is_ours(target, variable, owner):
            return None
        return secret_in(variable.get("value"))

    def fetch(self, target: Any) -> Secret | None:
        """The value, of any owner; None if there is none, or the variable is hidden."""
        variable = self._variable(target)
        if variable is None:
            return None
        return secret_in(variable.get("value"))

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Delete the variable if it is ours and still has the value of the receipt."""
        variable = self._variable(target)
        if variable is None or not self._is_ours(target, variable, owner):
            return
        value = variable.get("value")
        # A hidden variable shows no value, so its description alone decides.
        if receipt and isinstance(value, str):
            content = f"{value}\n".encode()
            if not digests.matches(content, str(receipt.get("digest"))):
                return
        answer = self._http.send("DELETE", self._path(target), params=self._filter(target))
        if answer.status not in (204, 404):
            raise self._refused(answer, target, "delete")

    # --- reading

    def _variable(self, target: Any) -> Mapping[str, Any] | None:
        answer = self._http.get(self._path(target), params=self._filter(target))
        if answer.status == 200 and isinstance(answer.body, Mapping):
            # It may be the key of somebody else.
            value = answer.body.get("value")
            if isinstance(value, str):
                self._context.redactor.add(Secret(value))
            return answer.body
        # A project that is missing or that the token may not see is a 404 as well.
        if answer.status == 404 and "variable" in _message(answer.body).lower():
            return None
        raise self._refused(answer, target, "look up")

    def _is_ours(self, target: Any, variable: Mapping[str, Any], owner: str) -> bool:
        description = str(variable.get("description") or "")
        if description == _description(owner):
            return True
        # The owner had another name when the state last saw it.
        receipt = self._context.receipt(self.place(target), owner)
        content = f"{variable.get('value')}\n".encode()
        is_recorded = receipt is not None and digests.matches(content, str(receipt.get("digest")))
        return description.startswith(_MARK) and is_recorded

    def _require_ours(self, target: Any, variable: Mapping[str, Any] | None, owner: str) -> None:
        if variable is None or self._is_ours(target, variable, owner):
            return
        description = str(variable.get("description") or "")
        holder = description.removeprefix(_MARK)
        if holder != description:
            raise SinkError(
                f"{self._shown(target)} holds the key of {holder}, which would be lost",
                hint=f"choose another name, or delete the variable if {holder} no longer exists",
            )
        raise SinkError(
            f"{self._shown(target)} exists and was not written by reconciler, so it is not "
            "overwritten",
            hint="delete the variable, or choose another name",
        )

    # --- paths and messages

    def _folder(self, target: Any) -> str:
        collection = "groups"
        if "project" in target:
            collection = "projects"
        path = normal_path(target.get("project") or target["group"], what="GitLab")
        return f"{collection}/{quote(path, safe='')}/variables"

    def _path(self, target: Any) -> str:
        return f"{self._folder(target)}/{target['name']}"

    def _filter(self, target: Any) -> dict[str, str]:
        # Without the filter, GitLab refuses a name that several scopes have.
        return {"filter[environment_scope]": target.get("environment_scope", _EVERYWHERE)}

    def _shown(self, target: Any) -> str:
        return f'the variable "{self.place(target).partition(":")[2]}" of GitLab'

    def _refused(self, answer: SinkResponse, target: Any, action: str) -> SinkError:
        explanation = self._http.explanation(answer)
        message = (
            f"{self._http.server} refuses to {action} {self._shown(target)} "
            f"(status {answer.status}{explanation})"
        )
        if answer.status == 401:
            return SinkError(message, hint="set GITLAB_TOKEN to a token that is valid")
        if answer.status in (403, 404):
            return SinkError(
                message,
                hint="correct the path, or set GITLAB_TOKEN to a token with the role Maintainer "
                "there and the scope api",
            )
        return SinkError(message, hint="correct the target in write_to")

    @property
    def _http(self) -> SinkHttp:
        return self._connection.get(self._connect)

    def _connect(self) -> SinkHttp:
        context, env = self._context, self._context.env
        address = setting(env, "CI_API_V4_URL") or _API
        header = "JOB-TOKEN"
        if setting(env, "GITLAB_TOKEN"):
            header = "PRIVATE-TOKEN"
        token = credential(
            env, context.redactor, "GITLAB_TOKEN", "CI_JOB_TOKEN", what="The token for GitLab"
        )
        client = context.connect(address, variable="CI_API_V4_URL", headers={header: token})
        return SinkHttp(client, context, f"GitLab at {address}", message_of=_message)


_CREATED_WITH = ("key", "environment_scope", "masked_and_hidden")


def _description(owner: str) -> str:
    whole = f"{_MARK}{owner}"
    if len(whole) <= _LONGEST_DESCRIPTION:
        return whole
    digest = hashlib.sha256(owner.encode()).hexdigest()[:32]
    return f"{whole[: _LONGEST_DESCRIPTION - 33]}#{digest}"


def _message(body: Any) -> str:
    """The explanation in an error: a text, or lists of texts by field."""
    fields = fields_of(body)
    message = fields.get("message") or fields.get("error")
    if isinstance(message, Mapping):
        return "; ".join(f"{name} {_listed(why)}".rstrip() for name, why in message.items())
    return _listed(message)


def _listed(problems: Any) -> str:
    """A text, or the texts of a list, as part of a sentence."""
    if not isinstance(problems, list):
        problems = [problems]
    return " and ".join(str(problem) for problem in problems if problem is not None)
