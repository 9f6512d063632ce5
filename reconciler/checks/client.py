"""The calls of one check: keys, bodies, files and responses."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.objects.uploads import Uploader
from reconciler.api.transport.request import Form, Request
from reconciler.api.transport.responses import Response
from reconciler.errors import AnswerError
from reconciler.model.secret import MASK, Redactor, Secret
from reconciler.model.values import Spec
from reconciler.rules.operations import Operation

_SHOWN_TEXT = 100_000


class CheckClient(Struct, frozen=True):
    """Makes the calls in one scope. `redactor` learns the secrets in responses."""

    client: ScopedClient
    redactor: Redactor
    uploader: Uploader

    def first(self, operation: Operation, spec: Spec) -> Response:
        """The call that is checked. A refusal by the API is a result, not an error."""
        parameters = spec.get("parameters") or {}
        body: dict[str, Any] | None = body_of(operation, spec)
        form = None
        if operation.files:
            # The fields of the body are fields of the form.
            form = self._form(operation, body or {}, spec.get("files") or {})
            body = None
        elif not operation.takes_body:
            body = None
        harmless = operation.leaves is None and operation.waiting is None and not operation.costly
        request = Request(
            operation.method,
            operation.path,
            self.client.key,
            _texts(parameters, operation.path_parameters),
            body,
            _texts(parameters, (name for name in parameters if name in operation.query)),
            form,
            self.client.beta,
            # A call without lasting effects can be sent again; for others, the method decides.
            repeatable=True if harmless else None,
            accepts_errors=True,
        )
        return self.client.http.exchange(request)

    def follow(
        self, call: str, answer: Spec, *, body: Any = None, last: bool = False
    ) -> dict[str, Any]:
        """A further call, with path parameters from an answer. `last` ones run after a stop too."""
        method, _, path = call.partition(" ")
        ids = {}
        for name in ("id", "thread_id"):
            if f"{{{name}}}" not in path:
                continue
            value = answer.get(name)
            if not isinstance(value, str) or not value:
                raise AnswerError(f"{call} cannot be called: the answer before it has no {name}.")
            ids[name] = value
        request = Request(
            method,
            path,
            self.client.key,
            ids,
            body,
            beta=self.client.beta,
            repeatable=True,
            after_stop=last,
        )
        return self.client.http.exchange(request).body

    def _form(self, operation: Operation, body: Spec, files: Mapping[str, Any]) -> Form:
        parts = {}
        for name, local in files.items():
            content = io.BytesIO(self.uploader.content(local))
            parts[name] = (local.path.rpartition("/")[2], content)
        first = operation.files[0]
        fields: dict[str, str | list[str]] = {}
        for name, value in body.items():
            # Forms have no lists: the API reads repeated fields whose name ends in brackets.
            if isinstance(value, list):
                fields[f"{name}[]"] = list(map(_text, value))
            else:
                fields[name] = _text(value)
        return Form(first, *parts.pop(first), fields, parts)


def body_of(operation: Operation, spec: Spec) -> dict[str, Any]:
    """The body of the call."""
    body = dict(spec.get("body") or {})
    fills = dict(operation.fills)
    if operation.stores and body.get(operation.stores):
        fills["store"] = True
    return {**fills, **body}


def judged(operation: Operation, answer: Response, redactor: Redactor) -> Any:
    """The body of a response for the expectations: masked JSON, or facts about other content."""
    if not answer.content:
        return masked(answer.body, operation.secrets, redactor)
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not operation.answers_text:
        raise AnswerError(
            f"{operation.call} answered with {kind or 'no content type'} instead of JSON."
        )
    shown: dict[str, Any] = {"content_type": kind, "bytes": len(answer.content)}
    if kind.startswith("text/"):
        shown["text"] = redactor(answer.content[:_SHOWN_TEXT].decode("utf-8", "replace"))
    return shown


def masked(value: Any, names: tuple[str, ...], redactor: Redactor) -> Any:
    """A value with all texts under the names masked; the redactor learns them."""
    if isinstance(value, list):
        return [masked(element, names, redactor) for element in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for name, element in value.items():
        if name in names and isinstance(element, str):
            redactor.add(Secret(element))
            result[name] = MASK
        else:
            result[name] = masked(element, names, redactor)
    return result


def _texts(parameters: Spec, names: Iterable[str]) -> dict[str, str]:
    return {name: _text(parameters[name]) for name in names}


def _text(value: Any) -> str:
    """A value as a parameter or a form field; booleans and null as in JSON."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return str(value)
